// What a session is told of its space. Knows no socket and no clock, as the window does not.
//
// One subscription a session; it is asked for again on each connection.

import { errorOf } from './errors.js';
import { event, type ErrorMessage, type EventMessage, type SpaceEvent } from './messages.js';
import type { Settle } from './promises.js';

interface Subscription extends Settle<void> {
  /** The message that asks for it. */
  readonly text: string;
  readonly listener: (event: SpaceEvent) => void;
  state: 'unsent' | 'asked' | 'begun';
  begunBefore: boolean;
}

export class Events {
  #subscription: Subscription | undefined;

  /** Takes the place of the present subscription, which hears no more. */
  subscribe(text: string, listener: (event: SpaceEvent) => void, settle: Settle<void>): void {
    this.#subscription?.resolve();
    this.#subscription = { text, listener, state: 'unsent', begunBefore: false, ...settle };
  }

  /** Hears no more. */
  unsubscribe(): void {
    this.#subscription?.resolve();
    this.#subscription = undefined;
  }

  /** Gives it up, for this reason. */
  fail(why: unknown): void {
    this.#subscription?.reject(why);
    this.#subscription = undefined;
  }

  /** Takes what is to be sent as sent. */
  send(): string | undefined {
    if (this.#subscription?.state !== 'unsent') return undefined;
    this.#subscription.state = 'asked';
    return this.#subscription.text;
  }

  /** From here on nothing is missed. */
  handleSubscribed(): void {
    const subscription = this.#subscription;
    if (subscription?.state !== 'asked') return;
    subscription.state = 'begun';
    if (subscription.begunBefore) subscription.listener({ kind: 'interrupted' });
    subscription.begunBefore = true;
    subscription.resolve();
  }

  handleEvent(message: EventMessage): void {
    if (this.#subscription?.state === 'begun') this.#subscription.listener(event(message));
  }

  /** An error that names neither an observation nor a recall; returns whether it is about this. */
  handleError(message: ErrorMessage): boolean {
    const isRefusal = ['invalid_argument', 'unimplemented', 'not_found'].includes(
      message.code ?? '',
    );
    if (this.#subscription?.state !== 'asked' || !isRefusal) return false;
    this.fail(errorOf(message));
    return true;
  }

  /** The connection is lost. */
  handleLost(): void {
    if (this.#subscription !== undefined) this.#subscription.state = 'unsent';
  }
}
