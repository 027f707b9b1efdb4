// Node: the same over `ws`, since not every Node that is in use has a WebSocket of its own.

import WebSocket from 'ws';

import type { WebSocketConstructor } from './connection.js';
import { openSession, type OpenOptions, type Session } from './session.js';

export * from './index.js';

class NodeWebSocket extends WebSocket {
  constructor(url: string) {
    // The server compresses nothing, and vectors do not shrink.
    super(url, { perMessageDeflate: false });
  }
}

/** See `open` of the browser's entry: only the WebSocket differs. */
export function open(url: string | URL, options: OpenOptions): Promise<Session> {
  return openSession(url, options, NodeWebSocket as unknown as WebSocketConstructor);
}
