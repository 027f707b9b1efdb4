import { littleEndian, toBase64 } from './base64.js';
import { InvalidObservationError, InvalidRequestError, ProtocolError } from './errors.js';
const REQUIRED = {
    init_ack: { session_id: 'string', initial_sequence: 'number' },
    ack: { sequence_number: 'number', status: 'string', memory_id: 'string' },
    status: { state: 'string' },
    recall_result: {
        request_id: 'string',
        results: 'object',
        more_results: 'boolean',
        snapshot_sequence: 'number',
    },
    event: { event_type: 'string', timestamp: 'string', importance: 'number', metadata: 'object' },
    error: { message: 'string' },
    heartbeat: {},
};
export function read(data) {
    if (typeof data !== 'string')
        throw new ProtocolError('a frame that is not text');
    let message;
    try {
        message = JSON.parse(data);
    }
    catch (cause) {
        throw new ProtocolError('a frame that is not JSON', { cause });
    }
    const type = message?.['type'];
    if (typeof type !== 'string' || !Object.hasOwn(REQUIRED, type))
        return undefined;
    for (const [key, kind] of Object.entries(REQUIRED[type])) {
        if (typeof message[key] !== kind)
            throw new ProtocolError(`${type} without a ${kind} ${key}`);
    }
    return message;
}
export function init(options) {
    return JSON.stringify({
        type: 'init',
        memory_space_id: options.space,
        session_id: options.sessionId,
        priority: options.priority,
        ack_mode: 'cumulative',
        enable_backpressure: true,
    });
}
export function observation(sessionId, sequence, episode) {
    const head = `{"type":"observation","session_id":${JSON.stringify(sessionId)}`;
    return `${head},"sequence_number":${sequence},"episode":${episode}}`;
}
export function recall(requestId, embedding, options) {
    if (options.maxResults !== undefined && !isCount(options.maxResults)) {
        throw new InvalidRequestError('maxResults must be a whole number from 0', {
            code: 'invalid_argument',
        });
    }
    return JSON.stringify({
        type: 'recall',
        request_id: requestId,
        embedding: Array.from(embedding),
        max_results: options.maxResults,
        snapshot_isolation: options.snapshotIsolation,
        page_size: PAGE_RESULTS,
        filter: options.filter && filterOf(options.filter),
    });
}
function filterOf({ from, to, where, who, tags }) {
    return { from, to, where_location: where, who, tags };
}
const EVENT_TYPES = { stored: 'storage', recalled: 'recall' };
export function subscribe({ kinds, minImportance, bufferSize }) {
    if (bufferSize !== undefined && !isCount(bufferSize)) {
        throw new InvalidRequestError('bufferSize must be a whole number from 0', {
            code: 'invalid_argument',
        });
    }
    return JSON.stringify({
        type: 'subscribe',
        event_types: kinds?.map((kind) => EVENT_TYPES[kind]),
        min_importance: minImportance,
        buffer_size: bufferSize,
    });
}
export function event(message) {
    const { event_type: type, timestamp, importance, metadata } = message;
    const { memory_id: memoryId, missed, ...rest } = metadata;
    const kind = type === EVENT_TYPES.stored ? 'stored' : 'recalled';
    if (type !== EVENT_TYPES[kind])
        return { kind: 'missed', count: Number(missed ?? 0) };
    return { kind, at: new Date(timestamp), memoryId, importance, metadata: rest };
}
export function close(sessionId, lastSequence, drainQueue) {
    const type = 'close';
    return JSON.stringify({
        type,
        session_id: sessionId,
        last_sequence: lastSequence,
        drain_queue: drainQueue,
    });
}
export function memory(entry) {
    const { id, content, activation, confidence, durability, metadata } = entry;
    const when = typeof entry.when === 'string' ? new Date(entry.when) : undefined;
    return { id, content, activation, confidence, durability, when, metadata };
}
const TEXT_BYTES_MAX = {
    id: 256,
    what: 64 << 10,
    where_location: 4 << 10,
    why: 4 << 10,
    how: 4 << 10,
};
const WHO_ENTRIES_MAX = 64;
const WHO_BYTES_MAX = 256;
const PAGE_RESULTS = 100;
export function episode(observation) {
    const { what, embedding, when, where, who, why, how, confidence, importance } = observation;
    const id = observation.id ?? '';
    const texts = { id, what, where_location: where, why, how };
    for (const [field, text] of Object.entries(texts)) {
        if (text === undefined && field !== 'what')
            continue;
        checkText(field, text, TEXT_BYTES_MAX[field]);
    }
    if (who !== undefined && !Array.isArray(who))
        throw invalid('who', 'must be a list of texts');
    if (who !== undefined && who.length > WHO_ENTRIES_MAX)
        throw tooLarge('who');
    who?.forEach((person) => checkText('who', person, WHO_BYTES_MAX));
    for (const [field, number] of Object.entries({ confidence, importance })) {
        if (number !== undefined && !Number.isFinite(number))
            throw invalid(field, 'must be a finite number');
    }
    if (when !== undefined && !isMoment(when))
        throw invalid('when', 'must be a date of the years 0 to 9999');
    if (!(embedding instanceof Float32Array) && !Array.isArray(embedding)) {
        throw invalid('embedding', 'must be a Float32Array or a list of numbers');
    }
    const numbers = embedding instanceof Float32Array
        ? embedding
        : Float32Array.from(embedding);
    return JSON.stringify({
        ...texts,
        embedding_f32: toBase64(littleEndian(numbers)),
        when: when?.toISOString(),
        who,
        encoding_confidence: confidence,
        importance,
    });
}
function checkText(field, text, bytesMax) {
    if (typeof text !== 'string')
        throw invalid(field, 'must be a text');
    if (LONE_SURROGATE.test(text))
        throw invalid(field, 'has half of a character (a lone surrogate)');
    if (text.length * 3 > bytesMax && ENCODER.encode(text).length > bytesMax)
        throw tooLarge(field);
}
const ENCODER = new TextEncoder();
const LONE_SURROGATE = /\p{Surrogate}/u;
function isMoment(when) {
    return when instanceof Date && when.getUTCFullYear() >= 0 && when.getUTCFullYear() <= 9999;
}
function isCount(number) {
    return Number.isInteger(number) && number >= 0 && number <= 0xffff_ffff;
}
function invalid(field, why) {
    return new InvalidObservationError(`Invalid observation request: ${field} ${why}`, field);
}
function tooLarge(field) {
    return new InvalidObservationError(`Field too large: ${field}`, field);
}
