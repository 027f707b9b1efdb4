// A session as its user has it: it outlives its connections.

import { Backoff, RECONNECT_DEFAULT, withJitter, type ReconnectPolicy } from './backoff.js';
import { Connection, type WebSocketConstructor } from './connection.js';
import {
  ConnectionError,
  EngramError,
  InvalidObservationError,
  InvalidRequestError,
  ProtocolError,
  QueueFullError,
  SessionClosedError,
  SessionTakenOverError,
  errorOf,
} from './errors.js';
import { Events } from './events.js';
import * as messages from './messages.js';
import type {
  Ack,
  ErrorMessage,
  Inbound,
  Observation,
  Priority,
  RecallOptions,
  Recollection,
  SpaceEvent,
  SubscribeOptions,
} from './messages.js';
import { abortable, deferred, timer, type Deferred, type Settle } from './promises.js';
import { Recalls } from './recalls.js';
import { Window, type Refusal } from './window.js';

export interface OpenOptions {
  /** The space; the first session makes it. May be left out with `resume`. */
  readonly space?: string;
  /** The id of an earlier session, to go on with it. */
  readonly resume?: string;
  /** The lane of its observations. */
  readonly priority?: Priority;
  /** At most so many observations are under way at once: 256. */
  readonly window?: number;
  /**
   * At most so many observations, and so many recalls, wait here: 8,192. More are refused with
   * `QueueFullError`.
   */
  readonly queue?: number;
  /** How a lost connection is made again. */
  readonly reconnect?: Partial<ReconnectPolicy>;
  /** How long connecting and opening may take: 10 s. */
  readonly connectTimeoutMs?: number;
  /**
   * After so long without a sign of the server, which gives one every 30 s, the connection is made
   * anew: 75 s.
   */
  readonly silenceMs?: number;
  /** Ends the opening. The open session has `abort`. */
  readonly signal?: AbortSignal;
  /** Told of each change, and what led to it. */
  readonly onStateChange?: (state: SessionState, cause?: Error) => void;
  /** Another WebSocket than the platform's. */
  readonly WebSocket?: WebSocketConstructor;
}

export type SessionState = 'connecting' | 'open' | 'reconnecting' | 'closing' | 'closed';

export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface CloseOptions extends CallOptions {
  /** Until when it waits: all is `durable`, which is the default, or also `indexed`. */
  readonly drain?: 'durable' | 'indexed';
}

interface Pending extends Settle<Ack> {
  readonly id: string;
  readonly episode: string;
}

interface Closing extends Deferred<number> {
  readonly drainQueue: boolean;
  sent: boolean;
}

const WINDOW_DEFAULT = 256;
const QUEUE_DEFAULT = 8_192;
const CONNECT_TIMEOUT_MS_DEFAULT = 10_000;
const SILENCE_MS_DEFAULT = 75_000;
/** Where the server is overloaded and does not say for how long. */
const OVERLOADED_MS_DEFAULT = 1_000;

const TAKEN_OVER = 4000;
/** Close codes of RFC 6455 after which the same messages would only fail again. */
const FAULTS: ReadonlySet<number> = new Set([1002, 1003, 1007, 1009]);
/** Errors without a number after which the session may be resumed. */
const MENDED_BY_RESUMING: ReadonlySet<string> = new Set([
  'unavailable',
  'resource_exhausted',
  'failed_precondition',
  'internal',
  'unknown',
]);

/** Opens a session, or resumes one. Rejects if the first attempt fails. */
export async function openSession(
  url: string | URL,
  options: OpenOptions,
  socketType: WebSocketConstructor | undefined,
): Promise<Session> {
  options.signal?.throwIfAborted();
  const chosen = options.WebSocket ?? socketType;
  if (chosen === undefined) {
    throw new InvalidRequestError('there is no WebSocket here; give one as an option');
  }
  const session = new Session(KEY, address(url), options, chosen);
  const abort = () => session.abort(options.signal?.reason);
  options.signal?.addEventListener('abort', abort, { once: true });
  try {
    await session[OPENED];
  } finally {
    options.signal?.removeEventListener('abort', abort);
  }
  return session;
}

/** `http:` may stand for `ws:`, and the path need not be given. */
function address(url: string | URL): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw new InvalidRequestError(`not a URL: ${url}`, { code: 'invalid_argument', cause });
  }
  if (!/^(ws|http)s?:$/.test(parsed.protocol)) {
    const message = `neither ws: nor wss: but ${parsed.protocol}`;
    throw new InvalidRequestError(message, { code: 'invalid_argument' });
  }
  parsed.protocol = parsed.protocol.replace('http', 'ws');
  if (parsed.pathname === '/') parsed.pathname = '/v1/stream';
  return parsed.href;
}

const KEY = Symbol('made by open');
const OPENED = Symbol('opened');

/** Streams observations into one space and recalls from it. Made by `open`. */
export class Session {
  readonly [OPENED]: Promise<void>;
  readonly #url: string;
  readonly #options: OpenOptions;
  readonly #socketType: WebSocketConstructor;
  readonly #backoff: Backoff;
  readonly #windowSize: number;
  readonly #queueMax: number;
  readonly #recalls = new Recalls();
  readonly #events = new Events();
  /** What still waits to be told that the session is open, or why not. */
  readonly #opening: Settle<void>;
  #window: Window<Pending> | undefined;
  #connection: Connection | undefined;
  #attached = false;
  #state: SessionState = 'connecting';
  #id = '';
  #failure: unknown;
  #closing: Closing | undefined;
  #recallCount = 0;
  #ready: Deferred<void> | undefined;
  #reconnecting: ReturnType<typeof setTimeout> | undefined;
  #sending: ReturnType<typeof setTimeout> | undefined;

  /** @internal */
  constructor(key: symbol, url: string, options: OpenOptions, socketType: WebSocketConstructor) {
    if (key !== KEY) throw new TypeError('a session is made by open()');
    this.#url = url;
    this.#options = options;
    this.#socketType = socketType;
    this.#windowSize = atLeastOne('window', options.window ?? WINDOW_DEFAULT);
    this.#queueMax = atLeastOne('queue', options.queue ?? QUEUE_DEFAULT);
    this.#backoff = new Backoff({ ...RECONNECT_DEFAULT, ...options.reconnect });
    this.#id = options.resume ?? '';
    const { promise, ...opening } = deferred<void>();
    this[OPENED] = promise;
    this.#opening = opening;
    this.#connect();
  }

  /** The session's id, with which it can be resumed from elsewhere. */
  get id(): string {
    return this.#id;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** All observations up to this number are durable. */
  get acked(): number {
    return this.#window?.acked ?? 0;
  }

  /** How many observations were taken here and are not known to be durable. */
  get pending(): number {
    return this.#window?.length ?? 0;
  }

  /**
   * Resolves once fewer observations wait here than are under way at most: await it to keep memory
   * small.
   */
  get ready(): Promise<void> {
    if (this.#state === 'closed') return Promise.reject(this.#failure);
    if (this.#hasRoom()) return Promise.resolve();
    this.#ready ??= deferred<void>();
    return this.#ready.promise;
  }

  /**
   * Takes an observation; resolves once it is durable. They become so in the order of the calls,
   * each once, whatever happens to the connection. An abort takes it back only while it has not
   * been sent.
   */
  async observe(observation: Observation, options: CallOptions = {}): Promise<Ack> {
    const window = this.#admit(options.signal);
    if (window.waiting >= this.#queueMax)
      throw new QueueFullError(`${this.#queueMax} observations wait already`);
    const { promise, ...settle } = deferred<Ack>();
    const pending = { id: observation.id ?? '', episode: messages.episode(observation), ...settle };
    window.push(pending);
    this.#pump();
    return abortable(promise, options.signal, (reason) => {
      if (window.withdraw(pending)) this.#pump();
      pending.reject(reason);
    });
  }

  /** Finds what is nearest to `embedding` in the space. Sent again if the connection is lost. */
  async recall(
    embedding: Float32Array | readonly number[],
    options: RecallOptions = {},
  ): Promise<Recollection> {
    this.#admit(options.signal);
    if (this.#recalls.length >= this.#queueMax)
      throw new QueueFullError(`${this.#queueMax} recalls wait already`);
    const requestId = `r${++this.#recallCount}`;
    const { promise, ...settle } = deferred<Recollection>();
    this.#recalls.ask(requestId, messages.recall(requestId, embedding, options), settle);
    this.#pump();
    return abortable(promise, options.signal, (reason) => {
      this.#recalls.withdraw(requestId);
      settle.reject(reason);
      this.#pump();
    });
  }

  /**
   * Tells `listener` what happens in the space; resolves once nothing is missed any more. Goes on
   * over lost connections. Another subscription takes its place.
   */
  async subscribe(
    listener: (event: SpaceEvent) => void,
    options: SubscribeOptions = {},
  ): Promise<void> {
    this.#admit(undefined);
    const { promise, ...settle } = deferred<void>();
    this.#events.subscribe(messages.subscribe(options), listener, settle);
    this.#pump();
    return promise;
  }

  /** Tells nothing more of what happens. */
  unsubscribe(): void {
    this.#events.unsubscribe();
  }

  /**
   * Sends no observation until `resume`. What is under way is still acked, and recalls are
   * answered.
   */
  pause(): void {
    this.#hold(true);
  }

  /** Goes on after `pause`. */
  resume(): void {
    this.#hold(false);
  }

  /**
   * Ends the session in order: sends what waits, and resolves with the final sequence once all of
   * it is durable. An abort aborts the session.
   */
  async close(options: CloseOptions = {}): Promise<number> {
    options.signal?.throwIfAborted();
    if (this.#closing === undefined) {
      this.#admit(options.signal);
      this.#closing = {
        drainQueue: options.drain === 'indexed',
        sent: false,
        ...deferred<number>(),
      };
      this.#hold(false);
      this.#setState('closing');
      this.#pump();
    }
    return abortable(this.#closing.promise, options.signal, (reason) => this.abort(reason));
  }

  /**
   * Ends it here and now; what is pending rejects with `reason`. The session can be resumed from
   * elsewhere.
   */
  abort(reason: unknown = new SessionClosedError('the session was aborted')): void {
    this.#fail(reason);
  }

  /** Whether calls are taken; the window that takes them. */
  #admit(signal: AbortSignal | undefined): Window<Pending> {
    signal?.throwIfAborted();
    if (this.#state === 'closed') throw this.#failure;
    if (this.#closing !== undefined) throw new SessionClosedError('the session is closing');
    if (this.#window === undefined) throw new SessionClosedError('the session is not open yet');
    return this.#window;
  }

  #hold(paused: boolean): void {
    this.#window?.hold(paused);
    this.#pump();
  }

  #hasRoom(): boolean {
    return this.#window !== undefined && this.#window.waiting < this.#windowSize;
  }

  #setState(state: SessionState, cause?: Error): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onStateChange?.(state, cause);
  }

  #connect(): void {
    const { connectTimeoutMs = CONNECT_TIMEOUT_MS_DEFAULT, space, priority } = this.#options;
    const connection: Connection = new Connection(this.#socketType, this.#url, connectTimeoutMs, {
      opened: () =>
        connection.send(messages.init({ space, sessionId: this.#id || undefined, priority })),
      received: (data) => this.#receive(data),
      lost: (code, why) => this.#handleClose(code, why),
    });
    this.#connection = connection;
  }

  #receive(data: unknown): void {
    try {
      const message = messages.read(data);
      if (message !== undefined) this.#handle(message);
    } catch (why) {
      this.#fail(why);
      return;
    }
    this.#pump();
  }

  #handle(message: Inbound): void {
    switch (message.type) {
      case 'init_ack':
        this.#handleAttached(message);
        break;
      case 'ack':
        this.#handleAck(message);
        break;
      case 'status':
        this.#handleStatus(message);
        break;
      case 'recall_result':
        this.#recalls.handleResults(message);
        this.#backoff.reset();
        break;
      case 'event':
        this.#events.handleEvent(message);
        break;
      case 'error':
        this.#handleError(message);
        break;
      case 'heartbeat':
        if (this.#attached) this.#backoff.reset();
        break;
    }
  }

  #handleAttached(message: Inbound & { type: 'init_ack' }): void {
    if (this.#attached) throw new ProtocolError('a second init_ack');
    this.#id = message.session_id;
    const durable = message.initial_sequence;
    this.#window ??= new Window({ size: this.#windowSize, acked: durable });
    const first = this.#window.acked + 1;
    this.#window.handleAttached(durable).forEach((pending, index) => {
      pending.resolve({
        sequence: first + index,
        memoryId: this.#memoryId(pending, first + index),
        committedAt: undefined,
      });
    });
    this.#attached = true;
    if (durable >= first) this.#backoff.reset();
    this.#connection?.expectWithin(this.#options.silenceMs ?? SILENCE_MS_DEFAULT);
    this.#setState(this.#closing ? 'closing' : 'open');
    this.#opening.resolve();
  }

  #handleAck(message: Inbound & { type: 'ack' }): void {
    if (message.status !== 'accepted') return;
    const last = message.sequence_number;
    const first = message.first_sequence ?? last;
    const committedAt =
      message.committed_at === undefined ? undefined : new Date(message.committed_at);
    this.#opened()
      .handleAck(first, last)
      .forEach((pending, index) => {
        const sequence = first + index;
        const memoryId = sequence === last ? message.memory_id : this.#memoryId(pending, sequence);
        pending.resolve({ sequence, memoryId, committedAt });
      });
    this.#backoff.reset();
  }

  /** What the server names a memory. */
  #memoryId(pending: Pending, sequence: number): string {
    return pending.id === '' ? `mem_${this.#id}_${sequence}` : pending.id;
  }

  #handleStatus(message: Inbound & { type: 'status' }): void {
    const { state, preferred_rate: rate, retry_after_ms: retryAfterMs } = message;
    if (message.message === 'subscribed') {
      // It tells the session's own flow, not the server's load.
      this.#events.handleSubscribed();
    } else if (state === 'closed') {
      this.#handleClosed(message);
    } else if (state === 'overloaded') {
      const delayMs = withJitter(retryAfterMs ?? OVERLOADED_MS_DEFAULT);
      this.#opened().handleLoad({ state, delayMs }, performance.now());
    } else if (state === 'backpressure') {
      const ratePerSecond = rate !== undefined && rate > 0 ? rate : undefined;
      this.#opened().handleLoad({ state, ratePerSecond }, performance.now());
    } else if (state === 'active' || state === 'paused') {
      this.#opened().handleLoad({ state }, performance.now());
    }
  }

  #handleClosed(message: Inbound & { type: 'status' }): void {
    // Unasked, it announces that the server stops or that another connection took over: the close
    // code will say.
    if (this.#closing === undefined || !this.#closing.sent) return;
    const last = message.sequence_number ?? this.acked;
    if (last !== this.acked) {
      throw new ProtocolError(`closed at ${last}, but ${this.acked} are acked`);
    }
    const closing = this.#closing;
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.close();
    closing.resolve(last);
    this.#fail(new SessionClosedError('the session is closed'));
  }

  #handleError(message: ErrorMessage): void {
    if (!this.#attached) return this.#handleRefusedOpening(message);
    const { request_id: requestId, sequence_number: sequence } = message;
    if (requestId !== undefined)
      return this.#recalls.handleError(requestId, message, performance.now());
    if (sequence !== undefined) return this.#handleRefused(sequence, message);
    if (this.#events.handleError(message)) return;
    const error = errorOf(message);
    if (!MENDED_BY_RESUMING.has(message.code ?? 'unknown')) throw error;
    this.#connection?.drop();
    this.#lose(error, message.retry_after_ms);
  }

  #handleRefusedOpening(message: ErrorMessage): void {
    const error = errorOf(message);
    const passing = ['unavailable', 'resource_exhausted', 'internal'].includes(message.code ?? '');
    if (!passing || this.#window === undefined) throw error;
    this.#connection?.drop();
    this.#lose(error, message.retry_after_ms);
  }

  #handleRefused(sequence: number, message: ErrorMessage): void {
    const given = this.#opened().handleRefused(sequence, refusalOf(message), performance.now());
    given?.reject(new InvalidObservationError(message.message, message.field));
  }

  #handleClose(code: number, why: string): void {
    if (code === TAKEN_OVER) {
      this.#fail(new SessionTakenOverError(why, { code: 'aborted' }));
    } else if (FAULTS.has(code)) {
      this.#fail(new ProtocolError(`the server closed with ${code}: ${why}`));
    } else {
      this.#lose(new ConnectionError(why, { code: 'unavailable' }));
    }
  }

  /** The connection is gone; makes another, unless the session never was open. */
  #lose(cause: EngramError, retryAfterMs = 0): void {
    this.#connection = undefined;
    this.#attached = false;
    if (this.#window === undefined) return this.#fail(cause);
    this.#window.handleLost();
    clearTimeout(this.#sending);
    if (this.#closing !== undefined) this.#closing.sent = false;
    this.#recalls.handleLost();
    this.#events.handleLost();
    const delay = this.#backoff.next(performance.now(), retryAfterMs);
    if (delay === undefined) {
      return this.#fail(
        new ConnectionError(`given up: ${cause.message}`, { code: cause.code, cause }),
      );
    }
    this.#reconnecting = setTimeout(() => this.#connect(), delay);
    this.#setState('reconnecting', cause);
  }

  /** Ends it for good. */
  #fail(why: unknown): void {
    if (this.#state === 'closed') return;
    this.#failure = why;
    this.#connection?.drop();
    this.#connection = undefined;
    this.#attached = false;
    clearTimeout(this.#reconnecting);
    clearTimeout(this.#sending);
    this.#opening.reject(why);
    this.#window?.clear().forEach((pending) => pending.reject(why));
    this.#recalls.fail(why);
    this.#events.fail(why);
    this.#closing?.reject(why);
    this.#ready?.reject(why);
    this.#setState('closed', why instanceof Error ? why : undefined);
  }

  #opened(): Window<Pending> {
    if (!this.#attached || this.#window === undefined)
      throw new ProtocolError('an answer before init_ack');
    return this.#window;
  }

  /** Sends what may be sent. */
  #pump(): void {
    const connection = this.#connection;
    const window = this.#window;
    if (this.#ready !== undefined && this.#hasRoom()) {
      this.#ready.resolve();
      this.#ready = undefined;
    }
    if (!this.#attached || connection === undefined || window === undefined) return;
    clearTimeout(this.#sending);
    const subscription = this.#events.send();
    if (subscription !== undefined) connection.send(subscription);
    const until = Math.min(
      this.#sendObservations(connection, window),
      this.#sendRecalls(connection),
    );
    if (until < Infinity) {
      this.#sending = timer(until - performance.now(), () => this.#pump());
    }
    if (this.#closing?.sent === false && window.length === 0 && this.#recalls.length === 0) {
      this.#closing.sent = true;
      connection.send(messages.close(this.#id, window.acked, this.#closing.drainQueue));
    }
  }

  /** Returns when there is more to send, even if no answer comes. */
  #sendObservations(connection: Connection, window: Window<Pending>): number {
    for (;;) {
      const now = performance.now();
      const next = window.next(now);
      if (next.kind === 'wait') return next.until;
      if (next.kind === 'idle') return Infinity;
      connection.send(messages.observation(this.#id, next.sequence, next.item.episode));
      window.handleSent(now);
    }
  }

  #sendRecalls(connection: Connection): number {
    const { texts, until } = this.#recalls.send(performance.now());
    for (const text of texts) connection.send(text);
    return until;
  }
}

function refusalOf(message: ErrorMessage): Refusal {
  if (message.code === 'invalid_argument') return { kind: 'content' };
  if (message.message === 'Session paused') return { kind: 'paused' };
  if (message.code === 'resource_exhausted' || message.retry_after_ms !== undefined) {
    return { kind: 'later', delayMs: withJitter(message.retry_after_ms ?? OVERLOADED_MS_DEFAULT) };
  }
  return { kind: 'follows', why: message.message };
}

function atLeastOne(name: string, count: number): number {
  if (Number.isInteger(count) && count >= 1) return count;
  throw new InvalidRequestError(`${name} must be a whole number from 1`, {
    code: 'invalid_argument',
  });
}
