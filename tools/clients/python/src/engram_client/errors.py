"""Every way of failing that a caller can act on, one class each."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

_DETAILS_KEY = "grpc-status-details-bin"


class EngramError(Exception):
    """What all of them are.

    `message` is what the server said, or what the client found; `code` the gRPC code, `None` where
    no server was asked; `retry_after` the seconds to wait before the same is tried again, `None`
    where the server named none.
    """

    def __init__(
        self, message: str, *, code: grpc.StatusCode | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.retry_after = retry_after


class InvalidRequestError(EngramError):
    """What was asked is not valid: ask for something else."""


class InvalidObservationError(InvalidRequestError):
    """The server refuses this observation for what it holds: mend `field`, or leave it out. Those
    behind it go on."""

    def __init__(
        self, message: str, *, code: grpc.StatusCode | None = None, field: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.field = field


class NotFoundError(EngramError):
    """No such space: observe something first, or correct the name."""


class SessionNotFoundError(NotFoundError):
    """The session is unknown or has expired: open a new one."""


class SessionTakenOverError(EngramError):
    """Another connection resumed this session: leave it to that one."""


class SessionClosedError(EngramError):
    """The session was closed here: open it again with its id."""


class OverloadedError(EngramError):
    """The server takes no more now: come back after `retry_after`."""


class MessageTooLargeError(InvalidRequestError):
    """A message is longer than the server reads: send less at once."""


class UnavailableError(EngramError):
    """The server cannot be reached, or has not answered for as long as the client was to try:
    resume the session later, by its id. What was not acked may or may not be durable; the resumed
    session tells by its `initial_sequence`.
    """


class DeadlineExceededError(EngramError):
    """The call took longer than its timeout."""


class NotServedError(EngramError):
    """The contract has this, the server does not serve it: do without it, or ask a newer server."""


class ServerError(EngramError):
    """The server failed in a way that no caller can mend: look into its log."""


class ProtocolViolationError(EngramError):
    """The server answered what cannot be: nothing is known of what was not acked."""


_CLASSES: dict[grpc.StatusCode, type[EngramError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.FAILED_PRECONDITION: InvalidRequestError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ABORTED: SessionTakenOverError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.UNIMPLEMENTED: NotServedError,
}


_CALL_BROKE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
}


def passes(error: EngramError) -> bool:
    """Whether the same may succeed over another connection."""
    return error.code in _CALL_BROKE or error.code is None and isinstance(error, UnavailableError)


def from_status(
    code: grpc.StatusCode, message: str, retry_after: float | None = None
) -> EngramError:
    """The error that a call's end means."""
    kind = _CLASSES.get(code, ServerError)
    if kind is OverloadedError and retry_after is None:
        # An overload names its time; without one, it is the length of the message that no waiting
        # mends.
        kind = MessageTooLargeError
    if kind is NotFoundError and message.startswith("Session error"):
        kind = SessionNotFoundError
    return kind(message, code=code, retry_after=retry_after)


def from_rpc_error(error: Any) -> EngramError:
    """The error that a failed call of grpcio means, of either face."""
    code = error.code() or grpc.StatusCode.UNKNOWN
    return from_status(code, error.details() or code.name, _retry_after(error.trailing_metadata()))


def _retry_after(trailing: Any) -> float | None:
    """Seconds of the RetryInfo in the rich status, where there is one."""
    for key, value in trailing or ():
        if key != _DETAILS_KEY:
            continue
        try:
            for detail in status_pb2.Status.FromString(value).details:
                retry = error_details_pb2.RetryInfo()
                if detail.Unpack(retry):
                    return float(retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
        except DecodeError:
            return None
    return None
