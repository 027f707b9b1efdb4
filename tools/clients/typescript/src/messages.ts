// The JSON objects of both directions.

import { littleEndian, toBase64 } from './base64.js';
import { InvalidObservationError, InvalidRequestError, ProtocolError } from './errors.js';

/** What was observed. */
export interface Observation {
  /**
   * Names the memory; one that the space already holds is replaced. Without it:
   * `mem_{session}_{sequence}`.
   */
  readonly id?: string;
  /** The text. */
  readonly what: string;
  /** As many numbers as the space has dimensions. Read at once: the array may be used again. */
  readonly embedding: Float32Array | readonly number[];
  readonly when?: Date;
  /** The place. */
  readonly where?: string;
  readonly who?: readonly string[];
  readonly why?: string;
  readonly how?: string;
  /** How sure the observer is, 0 to 1; 0.7 where it is not said. */
  readonly confidence?: number;
  readonly importance?: number;
}

/** An observation is durable: on disk, and in every recall from now on. */
export interface Ack {
  /** Its number in the session, from 1. */
  readonly sequence: number;
  readonly memoryId: string;
  /** Unknown where the ack itself was lost and only the session's mark tells of it. */
  readonly committedAt: Date | undefined;
}

/** A memory that was found. */
export interface Memory {
  readonly id: string;
  readonly content: string;
  /** How near it is to the cue, 0 to 1. */
  readonly activation: number;
  readonly confidence: number;
  readonly durability: 'durable' | 'in_flight';
  readonly when: Date | undefined;
  /** Who, where, why and how. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Recollection {
  /** Best first. */
  readonly memories: readonly Memory[];
  /** So many observations of the space were durable at that moment. */
  readonly snapshotSequence: number;
}

/** What a memory must be to be found: all that is said of it. */
export interface RecallFilter {
  /** The earliest time. */
  readonly from?: Date;
  /** The time before which it was. */
  readonly to?: Date;
  readonly where?: string;
  /** Who was there, all of them. */
  readonly who?: readonly string[];
  readonly tags?: readonly string[];
}

export interface RecallOptions {
  /** 10 where it is not said. */
  readonly maxResults?: number;
  /** Whether only what is durable may be found. */
  readonly snapshotIsolation?: boolean;
  readonly filter?: RecallFilter;
  readonly signal?: AbortSignal;
}

/** Something that happened in the space, or what is not known of it. */
export type SpaceEvent =
  | {
      readonly kind: 'stored' | 'recalled';
      readonly at: Date;
      /** The memory that was stored, or the best that was recalled. */
      readonly memoryId: string | undefined;
      readonly importance: number;
      readonly metadata: Readonly<Record<string, string>>;
    }
  /** So many events are missing here: they were read too slowly. */
  | { readonly kind: 'missed'; readonly count: number }
  /** The connection was made anew: what happened meanwhile is missing here. */
  | { readonly kind: 'interrupted' };

export interface SubscribeOptions {
  /** Only these; all where it is not said. */
  readonly kinds?: readonly ('stored' | 'recalled')[];
  /** Only events that matter so much. */
  readonly minImportance?: number;
  /** So many may wait at the server. */
  readonly bufferSize?: number;
}

export type Priority = 'high' | 'normal' | 'low';

/** What the server says. */
export type Inbound =
  | { readonly type: 'init_ack'; readonly session_id: string; readonly initial_sequence: number }
  | {
      readonly type: 'ack';
      readonly sequence_number: number;
      readonly first_sequence?: number;
      readonly status: string;
      readonly memory_id: string;
      readonly committed_at?: string;
    }
  | {
      readonly type: 'status';
      readonly state: string;
      readonly message?: string;
      readonly sequence_number?: number;
      readonly preferred_rate?: number;
      readonly retry_after_ms?: number;
    }
  | ResultPage
  | EventMessage
  | ErrorMessage
  | { readonly type: 'heartbeat' };

export interface ResultPage {
  readonly type: 'recall_result';
  readonly request_id: string;
  readonly results: readonly ResultEntry[];
  readonly more_results: boolean;
  readonly snapshot_sequence: number;
}

export interface EventMessage {
  readonly type: 'event';
  readonly event_type: string;
  readonly timestamp: string;
  readonly importance: number;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface ErrorMessage {
  readonly type: 'error';
  readonly message: string;
  readonly code?: string;
  readonly sequence_number?: number;
  readonly request_id?: string;
  readonly field?: string;
  readonly retry_after_ms?: number;
}

export interface ResultEntry {
  readonly id: string;
  readonly content: string;
  readonly activation: number;
  readonly confidence: number;
  readonly durability: 'durable' | 'in_flight';
  readonly when?: string | null;
  readonly metadata: Record<string, string>;
}

/** The keys that must be there, and what they are. */
const REQUIRED: Readonly<Record<Inbound['type'], Readonly<Record<string, string>>>> = {
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

/** Reads a frame; `undefined` for a type that a later server may know. */
export function read(data: unknown): Inbound | undefined {
  if (typeof data !== 'string') throw new ProtocolError('a frame that is not text');
  let message: Record<string, unknown>;
  try {
    message = JSON.parse(data);
  } catch (cause) {
    throw new ProtocolError('a frame that is not JSON', { cause });
  }
  const type = message?.['type'];
  if (typeof type !== 'string' || !Object.hasOwn(REQUIRED, type)) return undefined;
  for (const [key, kind] of Object.entries(REQUIRED[type as Inbound['type']])) {
    if (typeof message[key] !== kind) throw new ProtocolError(`${type} without a ${kind} ${key}`);
  }
  return message as unknown as Inbound;
}

export function init(options: {
  readonly space: string | undefined;
  readonly sessionId: string | undefined;
  readonly priority: Priority | undefined;
}): string {
  return JSON.stringify({
    type: 'init',
    memory_space_id: options.space,
    session_id: options.sessionId,
    priority: options.priority,
    ack_mode: 'cumulative',
    enable_backpressure: true,
  });
}

/**
 * An observation whose episode was encoded before, since its number may change until it is durable.
 */
export function observation(sessionId: string, sequence: number, episode: string): string {
  const head = `{"type":"observation","session_id":${JSON.stringify(sessionId)}`;
  return `${head},"sequence_number":${sequence},"episode":${episode}}`;
}

export function recall(
  requestId: string,
  embedding: Float32Array | readonly number[],
  options: RecallOptions,
): string {
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

function filterOf({ from, to, where, who, tags }: RecallFilter): object {
  return { from, to, where_location: where, who, tags };
}

/** The names of events on the wire. */
const EVENT_TYPES = { stored: 'storage', recalled: 'recall' } as const;

export function subscribe({ kinds, minImportance, bufferSize }: SubscribeOptions): string {
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

export function event(message: EventMessage): SpaceEvent {
  const { event_type: type, timestamp, importance, metadata } = message;
  const { memory_id: memoryId, missed, ...rest } = metadata;
  const kind = type === EVENT_TYPES.stored ? 'stored' : 'recalled';
  // The gap is the only event without a type of these.
  if (type !== EVENT_TYPES[kind]) return { kind: 'missed', count: Number(missed ?? 0) };
  return { kind, at: new Date(timestamp), memoryId, importance, metadata: rest };
}

export function close(sessionId: string, lastSequence: number, drainQueue: boolean): string {
  const type = 'close';
  return JSON.stringify({
    type,
    session_id: sessionId,
    last_sequence: lastSequence,
    drain_queue: drainQueue,
  });
}

export function memory(entry: ResultEntry): Memory {
  const { id, content, activation, confidence, durability, metadata } = entry;
  const when = typeof entry.when === 'string' ? new Date(entry.when) : undefined;
  return { id, content, activation, confidence, durability, when, metadata };
}

/**
 * The longest texts, in bytes, as the server has them. What is far longer would end the connection
 * there.
 */
const TEXT_BYTES_MAX = {
  id: 256,
  what: 64 << 10,
  where_location: 4 << 10,
  why: 4 << 10,
  how: 4 << 10,
} as const;
const WHO_ENTRIES_MAX = 64;
const WHO_BYTES_MAX = 256;
/** Results of one frame. */
const PAGE_RESULTS = 100;

/**
 * The JSON of an episode. What the server could not read at all is refused here, since it could not
 * say which observation it was; the rest is for the server to judge.
 */
export function episode(observation: Observation): string {
  const { what, embedding, when, where, who, why, how, confidence, importance } = observation;
  const id = observation.id ?? '';
  const texts = { id, what, where_location: where, why, how };
  for (const [field, text] of Object.entries(texts)) {
    if (text === undefined && field !== 'what') continue;
    checkText(field, text, TEXT_BYTES_MAX[field as keyof typeof TEXT_BYTES_MAX]);
  }
  if (who !== undefined && !Array.isArray(who)) throw invalid('who', 'must be a list of texts');
  if (who !== undefined && who.length > WHO_ENTRIES_MAX) throw tooLarge('who');
  who?.forEach((person: unknown) => checkText('who', person, WHO_BYTES_MAX));
  for (const [field, number] of Object.entries({ confidence, importance })) {
    if (number !== undefined && !Number.isFinite(number))
      throw invalid(field, 'must be a finite number');
  }
  if (when !== undefined && !isMoment(when))
    throw invalid('when', 'must be a date of the years 0 to 9999');
  if (!(embedding instanceof Float32Array) && !Array.isArray(embedding)) {
    throw invalid('embedding', 'must be a Float32Array or a list of numbers');
  }
  const numbers =
    embedding instanceof Float32Array
      ? embedding
      : Float32Array.from(embedding as readonly number[]);
  return JSON.stringify({
    ...texts,
    embedding_f32: toBase64(littleEndian(numbers)),
    when: when?.toISOString(),
    who,
    encoding_confidence: confidence,
    importance,
  });
}

function checkText(field: string, text: unknown, bytesMax: number): void {
  if (typeof text !== 'string') throw invalid(field, 'must be a text');
  if (LONE_SURROGATE.test(text)) throw invalid(field, 'has half of a character (a lone surrogate)');
  // A character of JavaScript is at most three bytes, so most texts need not be measured.
  if (text.length * 3 > bytesMax && ENCODER.encode(text).length > bytesMax) throw tooLarge(field);
}

const ENCODER = new TextEncoder();
const LONE_SURROGATE = /\p{Surrogate}/u;

function isMoment(when: unknown): boolean {
  // The server reads years of four digits.
  return when instanceof Date && when.getUTCFullYear() >= 0 && when.getUTCFullYear() <= 9999;
}

function isCount(number: number): boolean {
  return Number.isInteger(number) && number >= 0 && number <= 0xffff_ffff;
}

function invalid(field: string, why: string): InvalidObservationError {
  return new InvalidObservationError(`Invalid observation request: ${field} ${why}`, field);
}

function tooLarge(field: string): InvalidObservationError {
  return new InvalidObservationError(`Field too large: ${field}`, field);
}
