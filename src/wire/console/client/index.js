import { openSession } from './session.js';
export * from './errors.js';
export function open(url, options) {
    const { WebSocket } = globalThis;
    return openSession(url, options, WebSocket);
}
