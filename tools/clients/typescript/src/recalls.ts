// The recalls that are not answered yet. Knows no socket and no clock, as the window does not.
//
// A recall changes nothing, so one whose connection is lost is simply asked again.

import { withJitter } from './backoff.js';
import { errorOf } from './errors.js';
import {
  memory,
  type ErrorMessage,
  type Memory,
  type Recollection,
  type ResultPage,
} from './messages.js';
import type { Settle } from './promises.js';

interface Recall extends Settle<Recollection> {
  readonly text: string;
  underWay: boolean;
  /** Not to be asked again before this time. */
  notBefore: number;
  /** What came so far. */
  found: Memory[];
}

/** The server takes so many of one connection at once; with more, it would read nothing else. */
const UNDER_WAY_MAX = 8;

export class Recalls {
  readonly #asked = new Map<string, Recall>();
  #underWay = 0;

  /** How many are not answered yet. */
  get length(): number {
    return this.#asked.size;
  }

  /** Keeps one until it is answered. `text` is the message that asks for it. */
  ask(requestId: string, text: string, settle: Settle<Recollection>): void {
    this.#asked.set(requestId, {
      text,
      underWay: false,
      notBefore: -Infinity,
      found: [],
      ...settle,
    });
  }

  /** Gives one up. */
  withdraw(requestId: string): void {
    this.#take(requestId);
  }

  /** Gives all of them up, for this reason. */
  fail(why: unknown): void {
    for (const recall of this.#asked.values()) recall.reject(why);
    this.#asked.clear();
    this.#underWay = 0;
  }

  /**
   * Takes what is to be sent at `now` as sent; `until` is when there may be more without an answer.
   */
  send(now: number): { readonly texts: string[]; readonly until: number } {
    const texts = [];
    let until = Infinity;
    for (const recall of this.#asked.values()) {
      if (this.#underWay >= UNDER_WAY_MAX) return { texts, until: Infinity };
      if (recall.underWay) continue;
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

  /** Results, or a page of them. One that is unknown was given up meanwhile. */
  handleResults(page: ResultPage): void {
    const recall = this.#asked.get(page.request_id);
    recall?.found.push(...page.results.map(memory));
    if (recall === undefined || page.more_results) return;
    this.#take(page.request_id);
    recall.resolve({ memories: recall.found, snapshotSequence: page.snapshot_sequence });
  }

  /** The server did not answer one, and says why; perhaps it says when it will. */
  handleError(requestId: string, message: ErrorMessage, now: number): void {
    const recall = this.#asked.get(requestId);
    if (recall === undefined) return;
    if (message.retry_after_ms === undefined) {
      this.#take(requestId);
      recall.reject(errorOf(message));
    } else {
      this.#rest(recall);
      recall.notBefore = now + withJitter(message.retry_after_ms);
    }
  }

  /** The connection is lost, and with it all answers that were under way. */
  handleLost(): void {
    for (const recall of this.#asked.values()) this.#rest(recall);
    this.#underWay = 0;
  }

  #rest(recall: Recall): void {
    if (recall.underWay) this.#underWay -= 1;
    recall.underWay = false;
    recall.found = [];
  }

  #take(requestId: string): void {
    if (this.#asked.get(requestId)?.underWay) this.#underWay -= 1;
    this.#asked.delete(requestId);
  }
}
