// Promises that are settled from outside, and that an abort ends; and waits.

export interface Settle<T> {
  readonly resolve: (value: T) => void;
  readonly reject: (why: unknown) => void;
}

export interface Deferred<T> extends Settle<T> {
  readonly promise: Promise<T>;
}

export function deferred<T>(): Deferred<T> {
  let resolve: (value: T) => void = () => {};
  let reject: (why: unknown) => void = () => {};
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/** `promise`, during which an abort does `aborted`. */
export async function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  aborted: (reason: unknown) => void,
): Promise<T> {
  if (signal === undefined) return promise;
  const abort = () => aborted(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await promise;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** What timers can wait for at most; a longer wait would end at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Calls once `delayMs` have passed, or a little before: look at the clock, and wait again. */
export function timer(delayMs: number, call: () => void): ReturnType<typeof setTimeout> {
  return setTimeout(call, Math.min(Math.ceil(delayMs), TIMER_MS_MAX));
}
