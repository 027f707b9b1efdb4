// Browsers, and whatever else has a WebSocket of its own.

import type { WebSocketConstructor } from './connection.js';
import { openSession, type OpenOptions, type Session } from './session.js';

export type { ReconnectPolicy } from './backoff.js';
export type { WebSocketConstructor, WebSocketLike } from './connection.js';
export * from './errors.js';
export type {
  Ack,
  Memory,
  Observation,
  Priority,
  RecallFilter,
  RecallOptions,
  Recollection,
  SpaceEvent,
  SubscribeOptions,
} from './messages.js';
export type { CallOptions, CloseOptions, OpenOptions, Session, SessionState } from './session.js';

/**
 * Opens a session, or resumes one, with the server at `url` (`ws://127.0.0.1:7432`). Rejects if the
 * first attempt fails; a connection that is lost later is made again.
 */
export function open(url: string | URL, options: OpenOptions): Promise<Session> {
  const { WebSocket } = globalThis as { WebSocket?: WebSocketConstructor };
  return openSession(url, options, WebSocket);
}
