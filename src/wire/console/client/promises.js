export function deferred() {
    let resolve = () => { };
    let reject = () => { };
    const promise = new Promise((yes, no) => {
        resolve = yes;
        reject = no;
    });
    return { promise, resolve, reject };
}
export async function abortable(promise, signal, aborted) {
    if (signal === undefined)
        return promise;
    const abort = () => aborted(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    try {
        return await promise;
    }
    finally {
        signal.removeEventListener('abort', abort);
    }
}
const TIMER_MS_MAX = 2 ** 31 - 1;
export function timer(delayMs, call) {
    return setTimeout(call, Math.min(Math.ceil(delayMs), TIMER_MS_MAX));
}
