export class EngramError extends Error {
    name = 'EngramError';
    code;
    constructor(message, options = {}) {
        super(message, 'cause' in options ? { cause: options.cause } : undefined);
        this.code = options.code;
    }
}
export class ConnectionError extends EngramError {
    name = 'ConnectionError';
}
export class SessionLostError extends EngramError {
    name = 'SessionLostError';
}
export class SessionTakenOverError extends EngramError {
    name = 'SessionTakenOverError';
}
export class SessionClosedError extends EngramError {
    name = 'SessionClosedError';
}
export class InvalidObservationError extends EngramError {
    name = 'InvalidObservationError';
    field;
    constructor(message, field) {
        super(message, { code: 'invalid_argument' });
        this.field = field;
    }
}
export class InvalidRequestError extends EngramError {
    name = 'InvalidRequestError';
}
export class OverloadedError extends EngramError {
    name = 'OverloadedError';
}
export class UnavailableError extends EngramError {
    name = 'UnavailableError';
}
export class NotServedError extends EngramError {
    name = 'NotServedError';
}
export class QueueFullError extends EngramError {
    name = 'QueueFullError';
}
export class ProtocolError extends EngramError {
    name = 'ProtocolError';
}
export function errorOf(told) {
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
