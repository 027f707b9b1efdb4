"""A subscription's rules, without I/O: what is asked, what an answer means, when to connect
again."""

from __future__ import annotations

import random

from engram_client import errors
from engram_client._delays import Delays
from engram_client._proto import service_pb2 as wire
from engram_client.types import Event, EventKind, SessionOptions, Subscription, moment

_KINDS = {
    wire.STREAM_EVENT_TYPE_STORAGE: EventKind.STORED,
    wire.STREAM_EVENT_TYPE_RECALL: EventKind.RECALLED,
}


class Listener:
    """One subscription over as many calls as it takes."""

    def __init__(self, space: str, subscription: Subscription, chance: random.Random) -> None:
        self.request = wire.MemoryFlowRequest(
            memory_space_id=space,
            subscribe=wire.StreamSubscription(
                event_types=[kind for kind in _KINDS if _KINDS[kind] in subscription.kinds],
                min_importance=subscription.importance_min,
                buffer_size=subscription.buffer,
            ),
        ).SerializeToString()
        #: Whether the server says that nothing is missed from here on.
        self.has_begun = False
        # A subscription is as patient as a session is.
        options = SessionOptions()
        self._patience = options.patience or 0.0
        self._delays = Delays(options.reconnect_delay, options.reconnect_delay_max, chance)
        self._began_before = False
        self._lost_at: float | None = None

    def handle_response(self, response: wire.MemoryFlowResponse) -> Event | None:
        """The event that the server tells, if it tells one; raises if it refuses."""
        if response.HasField("event"):
            return _event(response.event)
        if not response.HasField("status"):
            return None
        status = response.status
        if status.state == wire.FlowStatus.STATE_ERROR:
            served = not status.message.startswith("Not served")
            kind = errors.InvalidRequestError if served else errors.NotServedError
            raise kind(status.message)
        if self.has_begun:
            return None
        self.has_begun = True
        self._delays.reset()
        self._lost_at = None
        first, self._began_before = not self._began_before, True
        return None if first else Event(EventKind.INTERRUPTED)

    def handle_end(self, error: errors.EngramError | None, now: float) -> float:
        """Seconds to the next call; raises where there is to be none."""
        self.has_begun = False
        if error is None:
            error = errors.UnavailableError("the server ended the stream")
        if not errors.passes(error) or not self._began_before:
            raise error
        if self._lost_at is None:
            self._lost_at = now
        wait = self._delays.next(error.retry_after)
        if now + wait - self._lost_at > self._patience:
            raise error
        return wait


def _event(event: wire.StreamResponse) -> Event:
    # The gap is the only event without a type of these.
    kind = _KINDS.get(event.event_type, EventKind.MISSED)
    metadata = dict(event.metadata)
    return Event(
        kind=kind,
        at=moment(event.timestamp) if event.HasField("timestamp") else None,
        memory_id=metadata.pop("memory_id", ""),
        importance=event.importance,
        missed=int(metadata.pop("missed", "0")),
        metadata=metadata,
    )
