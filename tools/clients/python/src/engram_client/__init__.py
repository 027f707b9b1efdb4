"""Client of engram, a streaming memory engine.

`Client` blocks, `AsyncClient` is for asyncio; both keep a session over lost connections and crashes
of the server, so that each observation is stored exactly once and in order. The package's README
shows both.
"""

from engram_client.aio import AsyncClient, AsyncEvents, AsyncSession
from engram_client.embedding import Embedding, Float16Bytes
from engram_client.errors import (
    DeadlineExceededError,
    EngramError,
    InvalidObservationError,
    InvalidRequestError,
    MessageTooLargeError,
    NotFoundError,
    NotServedError,
    OverloadedError,
    ProtocolViolationError,
    ServerError,
    SessionClosedError,
    SessionNotFoundError,
    SessionTakenOverError,
    UnavailableError,
)
from engram_client.sync import Client, Events, Session
from engram_client.types import (
    Episode,
    Event,
    EventKind,
    Memory,
    Page,
    Priority,
    Recall,
    RecallFilter,
    Receipt,
    Recollection,
    SessionOptions,
    Subscription,
)

__all__ = [
    "AsyncClient",
    "AsyncEvents",
    "AsyncSession",
    "Client",
    "DeadlineExceededError",
    "Embedding",
    "EngramError",
    "Episode",
    "Event",
    "EventKind",
    "Events",
    "Float16Bytes",
    "InvalidObservationError",
    "InvalidRequestError",
    "Memory",
    "MessageTooLargeError",
    "NotFoundError",
    "NotServedError",
    "OverloadedError",
    "Page",
    "Priority",
    "ProtocolViolationError",
    "Recall",
    "RecallFilter",
    "Receipt",
    "Recollection",
    "ServerError",
    "Session",
    "SessionClosedError",
    "SessionNotFoundError",
    "SessionOptions",
    "SessionTakenOverError",
    "Subscription",
    "UnavailableError",
]
