import { Backoff, RECONNECT_DEFAULT, withJitter } from './backoff.js';
import { Connection } from './connection.js';
import { ConnectionError, EngramError, InvalidObservationError, InvalidRequestError, ProtocolError, QueueFullError, SessionClosedError, SessionTakenOverError, errorOf, } from './errors.js';
import { Events } from './events.js';
import * as messages from './messages.js';
import { abortable, deferred, timer } from './promises.js';
import { Recalls } from './recalls.js';
import { Window } from './window.js';
const WINDOW_DEFAULT = 256;
const QUEUE_DEFAULT = 8_192;
const CONNECT_TIMEOUT_MS_DEFAULT = 10_000;
const SILENCE_MS_DEFAULT = 75_000;
const OVERLOADED_MS_DEFAULT = 1_000;
const TAKEN_OVER = 4000;
const FAULTS = new Set([1002, 1003, 1007, 1009]);
const MENDED_BY_RESUMING = new Set([
    'unavailable',
    'resource_exhausted',
    'failed_precondition',
    'internal',
    'unknown',
]);
export async function openSession(url, options, socketType) {
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
    }
    finally {
        options.signal?.removeEventListener('abort', abort);
    }
    return session;
}
function address(url) {
    let parsed;
    try {
        parsed = new URL(url);
    }
    catch (cause) {
        throw new InvalidRequestError(`not a URL: ${url}`, { code: 'invalid_argument', cause });
    }
    if (!/^(ws|http)s?:$/.test(parsed.protocol)) {
        const message = `neither ws: nor wss: but ${parsed.protocol}`;
        throw new InvalidRequestError(message, { code: 'invalid_argument' });
    }
    parsed.protocol = parsed.protocol.replace('http', 'ws');
    if (parsed.pathname === '/')
        parsed.pathname = '/v1/stream';
    return parsed.href;
}
const KEY = Symbol('made by open');
const OPENED = Symbol('opened');
export class Session {
    [OPENED];
    #url;
    #options;
    #socketType;
    #backoff;
    #windowSize;
    #queueMax;
    #recalls = new Recalls();
    #events = new Events();
    #opening;
    #window;
    #connection;
    #attached = false;
    #state = 'connecting';
    #id = '';
    #failure;
    #closing;
    #recallCount = 0;
    #ready;
    #reconnecting;
    #sending;
    constructor(key, url, options, socketType) {
        if (key !== KEY)
            throw new TypeError('a session is made by open()');
        this.#url = url;
        this.#options = options;
        this.#socketType = socketType;
        this.#windowSize = atLeastOne('window', options.window ?? WINDOW_DEFAULT);
        this.#queueMax = atLeastOne('queue', options.queue ?? QUEUE_DEFAULT);
        this.#backoff = new Backoff({ ...RECONNECT_DEFAULT, ...options.reconnect });
        this.#id = options.resume ?? '';
        const { promise, ...opening } = deferred();
        this[OPENED] = promise;
        this.#opening = opening;
        this.#connect();
    }
    get id() {
        return this.#id;
    }
    get state() {
        return this.#state;
    }
    get acked() {
        return this.#window?.acked ?? 0;
    }
    get pending() {
        return this.#window?.length ?? 0;
    }
    get ready() {
        if (this.#state === 'closed')
            return Promise.reject(this.#failure);
        if (this.#hasRoom())
            return Promise.resolve();
        this.#ready ??= deferred();
        return this.#ready.promise;
    }
    async observe(observation, options = {}) {
        const window = this.#admit(options.signal);
        if (window.waiting >= this.#queueMax)
            throw new QueueFullError(`${this.#queueMax} observations wait already`);
        const { promise, ...settle } = deferred();
        const pending = { id: observation.id ?? '', episode: messages.episode(observation), ...settle };
        window.push(pending);
        this.#pump();
        return abortable(promise, options.signal, (reason) => {
            if (window.withdraw(pending))
                this.#pump();
            pending.reject(reason);
        });
    }
    async recall(embedding, options = {}) {
        this.#admit(options.signal);
        if (this.#recalls.length >= this.#queueMax)
            throw new QueueFullError(`${this.#queueMax} recalls wait already`);
        const requestId = `r${++this.#recallCount}`;
        const { promise, ...settle } = deferred();
        this.#recalls.ask(requestId, messages.recall(requestId, embedding, options), settle);
        this.#pump();
        return abortable(promise, options.signal, (reason) => {
            this.#recalls.withdraw(requestId);
            settle.reject(reason);
            this.#pump();
        });
    }
    async subscribe(listener, options = {}) {
        this.#admit(undefined);
        const { promise, ...settle } = deferred();
        this.#events.subscribe(messages.subscribe(options), listener, settle);
        this.#pump();
        return promise;
    }
    unsubscribe() {
        this.#events.unsubscribe();
    }
    pause() {
        this.#hold(true);
    }
    resume() {
        this.#hold(false);
    }
    async close(options = {}) {
        options.signal?.throwIfAborted();
        if (this.#closing === undefined) {
            this.#admit(options.signal);
            this.#closing = {
                drainQueue: options.drain === 'indexed',
                sent: false,
                ...deferred(),
            };
            this.#hold(false);
            this.#setState('closing');
            this.#pump();
        }
        return abortable(this.#closing.promise, options.signal, (reason) => this.abort(reason));
    }
    abort(reason = new SessionClosedError('the session was aborted')) {
        this.#fail(reason);
    }
    #admit(signal) {
        signal?.throwIfAborted();
        if (this.#state === 'closed')
            throw this.#failure;
        if (this.#closing !== undefined)
            throw new SessionClosedError('the session is closing');
        if (this.#window === undefined)
            throw new SessionClosedError('the session is not open yet');
        return this.#window;
    }
    #hold(paused) {
        this.#window?.hold(paused);
        this.#pump();
    }
    #hasRoom() {
        return this.#window !== undefined && this.#window.waiting < this.#windowSize;
    }
    #setState(state, cause) {
        if (this.#state === state)
            return;
        this.#state = state;
        this.#options.onStateChange?.(state, cause);
    }
    #connect() {
        const { connectTimeoutMs = CONNECT_TIMEOUT_MS_DEFAULT, space, priority } = this.#options;
        const connection = new Connection(this.#socketType, this.#url, connectTimeoutMs, {
            opened: () => connection.send(messages.init({ space, sessionId: this.#id || undefined, priority })),
            received: (data) => this.#receive(data),
            lost: (code, why) => this.#handleClose(code, why),
        });
        this.#connection = connection;
    }
    #receive(data) {
        try {
            const message = messages.read(data);
            if (message !== undefined)
                this.#handle(message);
        }
        catch (why) {
            this.#fail(why);
            return;
        }
        this.#pump();
    }
    #handle(message) {
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
                if (this.#attached)
                    this.#backoff.reset();
                break;
        }
    }
    #handleAttached(message) {
        if (this.#attached)
            throw new ProtocolError('a second init_ack');
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
        if (durable >= first)
            this.#backoff.reset();
        this.#connection?.expectWithin(this.#options.silenceMs ?? SILENCE_MS_DEFAULT);
        this.#setState(this.#closing ? 'closing' : 'open');
        this.#opening.resolve();
    }
    #handleAck(message) {
        if (message.status !== 'accepted')
            return;
        const last = message.sequence_number;
        const first = message.first_sequence ?? last;
        const committedAt = message.committed_at === undefined ? undefined : new Date(message.committed_at);
        this.#opened()
            .handleAck(first, last)
            .forEach((pending, index) => {
            const sequence = first + index;
            const memoryId = sequence === last ? message.memory_id : this.#memoryId(pending, sequence);
            pending.resolve({ sequence, memoryId, committedAt });
        });
        this.#backoff.reset();
    }
    #memoryId(pending, sequence) {
        return pending.id === '' ? `mem_${this.#id}_${sequence}` : pending.id;
    }
    #handleStatus(message) {
        const { state, preferred_rate: rate, retry_after_ms: retryAfterMs } = message;
        if (message.message === 'subscribed') {
            this.#events.handleSubscribed();
        }
        else if (state === 'closed') {
            this.#handleClosed(message);
        }
        else if (state === 'overloaded') {
            const delayMs = withJitter(retryAfterMs ?? OVERLOADED_MS_DEFAULT);
            this.#opened().handleLoad({ state, delayMs }, performance.now());
        }
        else if (state === 'backpressure') {
            const ratePerSecond = rate !== undefined && rate > 0 ? rate : undefined;
            this.#opened().handleLoad({ state, ratePerSecond }, performance.now());
        }
        else if (state === 'active' || state === 'paused') {
            this.#opened().handleLoad({ state }, performance.now());
        }
    }
    #handleClosed(message) {
        if (this.#closing === undefined || !this.#closing.sent)
            return;
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
    #handleError(message) {
        if (!this.#attached)
            return this.#handleRefusedOpening(message);
        const { request_id: requestId, sequence_number: sequence } = message;
        if (requestId !== undefined)
            return this.#recalls.handleError(requestId, message, performance.now());
        if (sequence !== undefined)
            return this.#handleRefused(sequence, message);
        if (this.#events.handleError(message))
            return;
        const error = errorOf(message);
        if (!MENDED_BY_RESUMING.has(message.code ?? 'unknown'))
            throw error;
        this.#connection?.drop();
        this.#lose(error, message.retry_after_ms);
    }
    #handleRefusedOpening(message) {
        const error = errorOf(message);
        const passing = ['unavailable', 'resource_exhausted', 'internal'].includes(message.code ?? '');
        if (!passing || this.#window === undefined)
            throw error;
        this.#connection?.drop();
        this.#lose(error, message.retry_after_ms);
    }
    #handleRefused(sequence, message) {
        const given = this.#opened().handleRefused(sequence, refusalOf(message), performance.now());
        given?.reject(new InvalidObservationError(message.message, message.field));
    }
    #handleClose(code, why) {
        if (code === TAKEN_OVER) {
            this.#fail(new SessionTakenOverError(why, { code: 'aborted' }));
        }
        else if (FAULTS.has(code)) {
            this.#fail(new ProtocolError(`the server closed with ${code}: ${why}`));
        }
        else {
            this.#lose(new ConnectionError(why, { code: 'unavailable' }));
        }
    }
    #lose(cause, retryAfterMs = 0) {
        this.#connection = undefined;
        this.#attached = false;
        if (this.#window === undefined)
            return this.#fail(cause);
        this.#window.handleLost();
        clearTimeout(this.#sending);
        if (this.#closing !== undefined)
            this.#closing.sent = false;
        this.#recalls.handleLost();
        this.#events.handleLost();
        const delay = this.#backoff.next(performance.now(), retryAfterMs);
        if (delay === undefined) {
            return this.#fail(new ConnectionError(`given up: ${cause.message}`, { code: cause.code, cause }));
        }
        this.#reconnecting = setTimeout(() => this.#connect(), delay);
        this.#setState('reconnecting', cause);
    }
    #fail(why) {
        if (this.#state === 'closed')
            return;
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
    #opened() {
        if (!this.#attached || this.#window === undefined)
            throw new ProtocolError('an answer before init_ack');
        return this.#window;
    }
    #pump() {
        const connection = this.#connection;
        const window = this.#window;
        if (this.#ready !== undefined && this.#hasRoom()) {
            this.#ready.resolve();
            this.#ready = undefined;
        }
        if (!this.#attached || connection === undefined || window === undefined)
            return;
        clearTimeout(this.#sending);
        const subscription = this.#events.send();
        if (subscription !== undefined)
            connection.send(subscription);
        const until = Math.min(this.#sendObservations(connection, window), this.#sendRecalls(connection));
        if (until < Infinity) {
            this.#sending = timer(until - performance.now(), () => this.#pump());
        }
        if (this.#closing?.sent === false && window.length === 0 && this.#recalls.length === 0) {
            this.#closing.sent = true;
            connection.send(messages.close(this.#id, window.acked, this.#closing.drainQueue));
        }
    }
    #sendObservations(connection, window) {
        for (;;) {
            const now = performance.now();
            const next = window.next(now);
            if (next.kind === 'wait')
                return next.until;
            if (next.kind === 'idle')
                return Infinity;
            connection.send(messages.observation(this.#id, next.sequence, next.item.episode));
            window.handleSent(now);
        }
    }
    #sendRecalls(connection) {
        const { texts, until } = this.#recalls.send(performance.now());
        for (const text of texts)
            connection.send(text);
        return until;
    }
}
function refusalOf(message) {
    if (message.code === 'invalid_argument')
        return { kind: 'content' };
    if (message.message === 'Session paused')
        return { kind: 'paused' };
    if (message.code === 'resource_exhausted' || message.retry_after_ms !== undefined) {
        return { kind: 'later', delayMs: withJitter(message.retry_after_ms ?? OVERLOADED_MS_DEFAULT) };
    }
    return { kind: 'follows', why: message.message };
}
function atLeastOne(name, count) {
    if (Number.isInteger(count) && count >= 1)
        return count;
    throw new InvalidRequestError(`${name} must be a whole number from 1`, {
        code: 'invalid_argument',
    });
}
