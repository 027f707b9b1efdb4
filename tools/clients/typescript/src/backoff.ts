// How long to wait before connecting again.

/** How a lost connection is made again. */
export interface ReconnectPolicy {
  /** The longest wait before the first attempt; it doubles with each. */
  readonly firstDelayMs: number;
  /** The longest wait before any attempt. */
  readonly maxDelayMs: number;
  /** So long after the connection was lost, the session is given up. `Infinity`: never. */
  readonly giveUpAfterMs: number;
}

export const RECONNECT_DEFAULT: ReconnectPolicy = {
  firstDelayMs: 100,
  maxDelayMs: 10_000,
  giveUpAfterMs: 300_000,
};

/**
 * A wait that the server asked for: never less, and up to half as much more, so that not all come
 * back at once.
 */
export function withJitter(delayMs: number, random: () => number = Math.random): number {
  return delayMs * (1 + random() / 2);
}

export class Backoff {
  readonly #policy: ReconnectPolicy;
  readonly #random: () => number;
  #attempts = 0;
  #lostAt: number | undefined;

  constructor(policy: ReconnectPolicy, random: () => number = Math.random) {
    this.#policy = policy;
    this.#random = random;
  }

  /** How long to wait after a loss or a failed attempt at `now`; `undefined`: give up. */
  next(now: number, atLeastMs = 0): number | undefined {
    this.#lostAt ??= now;
    const { firstDelayMs, maxDelayMs, giveUpAfterMs } = this.#policy;
    const longest = Math.min(maxDelayMs, firstDelayMs * 2 ** this.#attempts);
    this.#attempts += 1;
    const delay = Math.max(
      longest * (0.5 + this.#random() / 2),
      withJitter(atLeastMs, this.#random),
    );
    return now + delay - this.#lostAt > giveUpAfterMs ? undefined : delay;
  }

  /** The connection proved to be good. */
  reset(): void {
    this.#attempts = 0;
    this.#lostAt = undefined;
  }
}
