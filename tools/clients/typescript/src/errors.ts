// One class for each way of failing that a caller can act on.

/**
 * What every error of this package is. An abort rejects with its signal's reason instead, as
 * everywhere.
 */
export class EngramError extends Error {
  override name = 'EngramError';
  /**
   * gRPC's status code in snake case, where the server gave one: `invalid_argument`, `unavailable`,
   * …
   */
  readonly code: string | undefined;

  constructor(message: string, options: { code?: string | undefined; cause?: unknown } = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.code = options.code;
  }
}

/**
 * The server cannot be reached, or not for as long as the session was told to try. Resume it later.
 */
export class ConnectionError extends EngramError {
  override name = 'ConnectionError';
}

/**
 * The server knows no such session (any more). Open a new one, and send again what was not acked.
 */
export class SessionLostError extends EngramError {
  override name = 'SessionLostError';
}

/** Another connection resumed this session and goes on with it. Leave it to that one. */
export class SessionTakenOverError extends EngramError {
  override name = 'SessionTakenOverError';
}

/** The session was closed or aborted here. */
export class SessionClosedError extends EngramError {
  override name = 'SessionClosedError';
}

/** This observation is not as it must be; those behind it go on. Mend it and observe it again. */
export class InvalidObservationError extends EngramError {
  override name = 'InvalidObservationError';
  /** The field at fault, by its name on the wire. */
  readonly field: string | undefined;

  constructor(message: string, field: string | undefined) {
    super(message, { code: 'invalid_argument' });
    this.field = field;
  }
}

/** A call is not as it must be: the name of a space, a cue of another dimension. */
export class InvalidRequestError extends EngramError {
  override name = 'InvalidRequestError';
}

/** The server has no room for this now and does not say when it will. */
export class OverloadedError extends EngramError {
  override name = 'OverloadedError';
}

/** The server cannot serve this now, for a reason of its own. It may later. */
export class UnavailableError extends EngramError {
  override name = 'UnavailableError';
}

/** The server serves no such thing. */
export class NotServedError extends EngramError {
  override name = 'NotServedError';
}

/** More waits here already than `queue` allows. Await `session.ready`, then try again. */
export class QueueFullError extends EngramError {
  override name = 'QueueFullError';
}

/**
 * The server said what cannot be, or could not read what it was sent: a fault of one of the two.
 */
export class ProtocolError extends EngramError {
  override name = 'ProtocolError';
}

/** The error for what the server says went wrong with a call. */
export function errorOf(told: { message: string; code?: string | undefined }): EngramError {
  const { message, code } = told;
  switch (code) {
    case 'not_found':
      return new SessionLostError(message, { code });
    case 'invalid_argument':
    case 'out_of_range':
    case 'already_exists':
      return new InvalidRequestError(message, { code });
    case 'unimplemented':
      return new NotServedError(message, { code });
    case 'resource_exhausted':
      return new OverloadedError(message, { code });
    case 'aborted':
      return new SessionTakenOverError(message, { code });
    case 'unavailable':
    case 'internal':
      return new UnavailableError(message, { code });
    default:
      return new ProtocolError(message, { code });
  }
}
