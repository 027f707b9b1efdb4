import { errorOf } from './errors.js';
import { event } from './messages.js';
export class Events {
    #subscription;
    subscribe(text, listener, settle) {
        this.#subscription?.resolve();
        this.#subscription = { text, listener, state: 'unsent', begunBefore: false, ...settle };
    }
    unsubscribe() {
        this.#subscription?.resolve();
        this.#subscription = undefined;
    }
    fail(why) {
        this.#subscription?.reject(why);
        this.#subscription = undefined;
    }
    send() {
        if (this.#subscription?.state !== 'unsent')
            return undefined;
        this.#subscription.state = 'asked';
        return this.#subscription.text;
    }
    handleSubscribed() {
        const subscription = this.#subscription;
        if (subscription?.state !== 'asked')
            return;
        subscription.state = 'begun';
        if (subscription.begunBefore)
            subscription.listener({ kind: 'interrupted' });
        subscription.begunBefore = true;
        subscription.resolve();
    }
    handleEvent(message) {
        if (this.#subscription?.state === 'begun')
            this.#subscription.listener(event(message));
    }
    handleError(message) {
        const isRefusal = ['invalid_argument', 'unimplemented', 'not_found'].includes(message.code ?? '');
        if (this.#subscription?.state !== 'asked' || !isRefusal)
            return false;
        this.fail(errorOf(message));
        return true;
    }
    handleLost() {
        if (this.#subscription !== undefined)
            this.#subscription.state = 'unsent';
    }
}
