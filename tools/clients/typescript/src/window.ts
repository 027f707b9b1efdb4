// Which observation goes next, and what each answer means. Knows no socket and no clock: times are
// milliseconds of the caller's clock, given with each call.
//
// The first item kept is number `acked + 1`. A refusal refuses all that was sent behind it too, so
// the window goes back: it waits until everything under way is answered, and then sends from the
// refused number on, in order. Because of that wait, an answer can never be mistaken for that of an
// earlier item with the same number.

import { ProtocolError } from './errors.js';

/** What to do now. */
export type Next<T> =
  | { readonly kind: 'send'; readonly sequence: number; readonly item: T }
  | { readonly kind: 'wait'; readonly until: number }
  | { readonly kind: 'idle' };

/** Why a number was refused. */
export type Refusal =
  /** Its content: it is given up, and the next one takes its number. */
  | { readonly kind: 'content' }
  /** Overload: not before so many milliseconds. */
  | { readonly kind: 'later'; readonly delayMs: number }
  /** The session is paused, until the server says that it is active. */
  | { readonly kind: 'paused' }
  /** What came before it was refused. */
  | { readonly kind: 'follows'; readonly why: string };

/** What the server says of its load. */
export type Load =
  | { readonly state: 'active' | 'paused' }
  | { readonly state: 'overloaded'; readonly delayMs: number }
  | { readonly state: 'backpressure'; readonly ratePerSecond: number | undefined };

/** Without a rate to keep, so much less is under way while the server asks for less. */
const BACKPRESSURE_SHARE = 4;
/** A rate is kept over this long: timers are too coarse for the time between two observations. */
const PACE_SLACK_MS = 20;

export class Window<T> {
  readonly #size: number;
  readonly #items: T[] = [];
  /** All up to here are durable and told. */
  #acked: number;
  /** All up to here are sent, and may be durable. */
  #sent: number;
  /** Sent on this connection and not answered. */
  #underWay = 0;
  #goingBack = false;
  #attached = false;
  #pausedHere = false;
  #pausedThere = false;
  #notBefore = -Infinity;
  #intervalMs = 0;
  #limit: number;

  constructor(options: { readonly size: number; readonly acked: number }) {
    this.#size = options.size;
    this.#limit = options.size;
    this.#acked = options.acked;
    this.#sent = options.acked;
  }

  /** All up to this number are durable. */
  get acked(): number {
    return this.#acked;
  }

  /** How many items are kept, sent or not. */
  get length(): number {
    return this.#items.length;
  }

  /** How many items were not sent yet. */
  get waiting(): number {
    return this.#items.length - (this.#sent - this.#acked);
  }

  /** What to do at `now`. The answer changes with time and with every other call. */
  next(now: number): Next<T> {
    const answersFirst = this.#goingBack ? this.#underWay > 0 : this.#underWay >= this.#limit;
    if (
      !this.#attached ||
      this.#pausedHere ||
      this.#pausedThere ||
      answersFirst ||
      this.waiting === 0
    ) {
      return { kind: 'idle' };
    }
    if (now < this.#notBefore) return { kind: 'wait', until: this.#notBefore };
    return {
      kind: 'send',
      sequence: this.#sent + 1,
      item: this.#items[this.#sent - this.#acked] as T,
    };
  }

  /** Keeps an item, behind all others. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Gives an item up, if it was not sent yet. */
  withdraw(item: T): boolean {
    const at = this.#items.indexOf(item, this.#sent - this.#acked);
    if (at >= 0) this.#items.splice(at, 1);
    return at >= 0;
  }

  /** Gives all items up. */
  clear(): T[] {
    this.#attached = false;
    this.#sent = this.#acked;
    return this.#items.splice(0);
  }

  /** Sends nothing until `resume`, or goes on. */
  hold(paused: boolean): void {
    this.#pausedHere = paused;
  }

  /** What `next` said was sent. */
  handleSent(now: number): void {
    this.#goingBack = false;
    this.#sent += 1;
    this.#underWay += 1;
    if (this.#intervalMs > 0) {
      this.#notBefore = Math.max(now - PACE_SLACK_MS, this.#notBefore) + this.#intervalMs;
    }
  }

  /** `first` to `last` are durable. Returns their items. */
  handleAck(first: number, last: number): T[] {
    if (first !== this.#acked + 1 || last < first || last > this.#sent) {
      throw new ProtocolError(`acked ${first} to ${last}, but the turn is at ${this.#acked + 1}`);
    }
    this.#acked = last;
    this.#underWay -= last - first + 1;
    return this.#items.splice(0, last - first + 1);
  }

  /** `sequence` is refused. Returns the item that is given up for it. */
  handleRefused(sequence: number, refusal: Refusal, now: number): T | undefined {
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
    if (refusal.kind === 'paused') this.#pausedThere = true;
    if (follows) return undefined;
    // Nothing from here on is durable, since nothing behind a refused number is taken.
    this.#goingBack = true;
    this.#sent = this.#acked;
    return refusal.kind === 'content' ? this.#items.shift() : undefined;
  }

  /** The server tells its load. */
  handleLoad(load: Load, now: number): void {
    const share = Math.max(1, Math.floor(this.#size / BACKPRESSURE_SHARE));
    this.#pausedThere = load.state === 'paused';
    this.#intervalMs = 0;
    this.#limit = this.#size;
    if (load.state === 'overloaded')
      this.#notBefore = Math.max(this.#notBefore, now + load.delayMs);
    if (load.state === 'backpressure') {
      if (load.ratePerSecond === undefined) this.#limit = share;
      else this.#intervalMs = 1000 / load.ratePerSecond;
    }
  }

  /** The connection is lost; what was sent may be durable or not. */
  handleLost(): void {
    this.#attached = false;
  }

  /**
   * The session is open on a new connection, and all up to `durable` is durable. Returns what
   * became so meanwhile.
   */
  handleAttached(durable: number): T[] {
    if (durable < this.#acked) {
      throw new ProtocolError(
        `the server kept ${durable} observations of ${this.#acked} that it had acked`,
      );
    }
    if (durable > this.#sent) {
      throw new ProtocolError(
        `the server has ${durable} observations of this session, but ${this.#sent} were sent`,
      );
    }
    const kept = this.#items.splice(0, durable - this.#acked);
    this.#acked = durable;
    this.#sent = durable;
    this.#underWay = 0;
    this.#goingBack = false;
    this.#attached = true;
    // What was said of the load held for the connection on which it was said.
    this.#pausedThere = false;
    this.#intervalMs = 0;
    this.#limit = this.#size;
    return kept;
  }
}
