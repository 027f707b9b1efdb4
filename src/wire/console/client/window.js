import { ProtocolError } from './errors.js';
const BACKPRESSURE_SHARE = 4;
const PACE_SLACK_MS = 20;
export class Window {
    #size;
    #items = [];
    #acked;
    #sent;
    #underWay = 0;
    #goingBack = false;
    #attached = false;
    #pausedHere = false;
    #pausedThere = false;
    #notBefore = -Infinity;
    #intervalMs = 0;
    #limit;
    constructor(options) {
        this.#size = options.size;
        this.#limit = options.size;
        this.#acked = options.acked;
        this.#sent = options.acked;
    }
    get acked() {
        return this.#acked;
    }
    get length() {
        return this.#items.length;
    }
    get waiting() {
        return this.#items.length - (this.#sent - this.#acked);
    }
    next(now) {
        const answersFirst = this.#goingBack ? this.#underWay > 0 : this.#underWay >= this.#limit;
        if (!this.#attached ||
            this.#pausedHere ||
            this.#pausedThere ||
            answersFirst ||
            this.waiting === 0) {
            return { kind: 'idle' };
        }
        if (now < this.#notBefore)
            return { kind: 'wait', until: this.#notBefore };
        return {
            kind: 'send',
            sequence: this.#sent + 1,
            item: this.#items[this.#sent - this.#acked],
        };
    }
    push(item) {
        this.#items.push(item);
    }
    withdraw(item) {
        const at = this.#items.indexOf(item, this.#sent - this.#acked);
        if (at >= 0)
            this.#items.splice(at, 1);
        return at >= 0;
    }
    clear() {
        this.#attached = false;
        this.#sent = this.#acked;
        return this.#items.splice(0);
    }
    hold(paused) {
        this.#pausedHere = paused;
    }
    handleSent(now) {
        this.#goingBack = false;
        this.#sent += 1;
        this.#underWay += 1;
        if (this.#intervalMs > 0) {
            this.#notBefore = Math.max(now - PACE_SLACK_MS, this.#notBefore) + this.#intervalMs;
        }
    }
    handleAck(first, last) {
        if (first !== this.#acked + 1 || last < first || last > this.#sent) {
            throw new ProtocolError(`acked ${first} to ${last}, but the turn is at ${this.#acked + 1}`);
        }
        this.#acked = last;
        this.#underWay -= last - first + 1;
        return this.#items.splice(0, last - first + 1);
    }
    handleRefused(sequence, refusal, now) {
        const follows = this.#goingBack && sequence > this.#acked + 1;
        const leads = !this.#goingBack && sequence === this.#acked + 1;
        if (this.#underWay === 0 || !(follows || leads)) {
            throw new ProtocolError(`refused ${sequence}, but the turn is at ${this.#acked + 1}`);
        }
        if (leads && refusal.kind === 'follows')
            throw new ProtocolError(`refused ${sequence}: ${refusal.why}`);
        this.#underWay -= 1;
        if (refusal.kind === 'later')
            this.#notBefore = Math.max(this.#notBefore, now + refusal.delayMs);
        if (refusal.kind === 'paused')
            this.#pausedThere = true;
        if (follows)
            return undefined;
        this.#goingBack = true;
        this.#sent = this.#acked;
        return refusal.kind === 'content' ? this.#items.shift() : undefined;
    }
    handleLoad(load, now) {
        const share = Math.max(1, Math.floor(this.#size / BACKPRESSURE_SHARE));
        this.#pausedThere = load.state === 'paused';
        this.#intervalMs = 0;
        this.#limit = this.#size;
        if (load.state === 'overloaded')
            this.#notBefore = Math.max(this.#notBefore, now + load.delayMs);
        if (load.state === 'backpressure') {
            if (load.ratePerSecond === undefined)
                this.#limit = share;
            else
                this.#intervalMs = 1000 / load.ratePerSecond;
        }
    }
    handleLost() {
        this.#attached = false;
    }
    handleAttached(durable) {
        if (durable < this.#acked) {
            throw new ProtocolError(`the server kept ${durable} observations of ${this.#acked} that it had acked`);
        }
        if (durable > this.#sent) {
            throw new ProtocolError(`the server has ${durable} observations of this session, but ${this.#sent} were sent`);
        }
        const kept = this.#items.splice(0, durable - this.#acked);
        this.#acked = durable;
        this.#sent = durable;
        this.#underWay = 0;
        this.#goingBack = false;
        this.#attached = true;
        this.#pausedThere = false;
        this.#intervalMs = 0;
        this.#limit = this.#size;
        return kept;
    }
}
