import { withJitter } from './backoff.js';
import { errorOf } from './errors.js';
import { memory, } from './messages.js';
const UNDER_WAY_MAX = 8;
export class Recalls {
    #asked = new Map();
    #underWay = 0;
    get length() {
        return this.#asked.size;
    }
    ask(requestId, text, settle) {
        this.#asked.set(requestId, {
            text,
            underWay: false,
            notBefore: -Infinity,
            found: [],
            ...settle,
        });
    }
    withdraw(requestId) {
        this.#take(requestId);
    }
    fail(why) {
        for (const recall of this.#asked.values())
            recall.reject(why);
        this.#asked.clear();
        this.#underWay = 0;
    }
    send(now) {
        const texts = [];
        let until = Infinity;
        for (const recall of this.#asked.values()) {
            if (this.#underWay >= UNDER_WAY_MAX)
                return { texts, until: Infinity };
            if (recall.underWay)
                continue;
            if (recall.notBefore > now) {
                until = Math.min(until, recall.notBefore);
                continue;
            }
            recall.underWay = true;
            this.#underWay += 1;
            texts.push(recall.text);
        }
        return { texts, until };
    }
    handleResults(page) {
        const recall = this.#asked.get(page.request_id);
        recall?.found.push(...page.results.map(memory));
        if (recall === undefined || page.more_results)
            return;
        this.#take(page.request_id);
        recall.resolve({ memories: recall.found, snapshotSequence: page.snapshot_sequence });
    }
    handleError(requestId, message, now) {
        const recall = this.#asked.get(requestId);
        if (recall === undefined)
            return;
        if (message.retry_after_ms === undefined) {
            this.#take(requestId);
            recall.reject(errorOf(message));
        }
        else {
            this.#rest(recall);
            recall.notBefore = now + withJitter(message.retry_after_ms);
        }
    }
    handleLost() {
        for (const recall of this.#asked.values())
            this.#rest(recall);
        this.#underWay = 0;
    }
    #rest(recall) {
        if (recall.underWay)
            this.#underWay -= 1;
        recall.underWay = false;
        recall.found = [];
    }
    #take(requestId) {
        if (this.#asked.get(requestId)?.underWay)
            this.#underWay -= 1;
        this.#asked.delete(requestId);
    }
}
