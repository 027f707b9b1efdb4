export const RECONNECT_DEFAULT = {
    firstDelayMs: 100,
    maxDelayMs: 10_000,
    giveUpAfterMs: 300_000,
};
export function withJitter(delayMs, random = Math.random) {
    return delayMs * (1 + random() / 2);
}
export class Backoff {
    #policy;
    #random;
    #attempts = 0;
    #lostAt;
    constructor(policy, random = Math.random) {
        this.#policy = policy;
        this.#random = random;
    }
    next(now, atLeastMs = 0) {
        this.#lostAt ??= now;
        const { firstDelayMs, maxDelayMs, giveUpAfterMs } = this.#policy;
        const longest = Math.min(maxDelayMs, firstDelayMs * 2 ** this.#attempts);
        this.#attempts += 1;
        const delay = Math.max(longest * (0.5 + this.#random() / 2), withJitter(atLeastMs, this.#random));
        return now + delay - this.#lostAt > giveUpAfterMs ? undefined : delay;
    }
    reset() {
        this.#attempts = 0;
        this.#lostAt = undefined;
    }
}
