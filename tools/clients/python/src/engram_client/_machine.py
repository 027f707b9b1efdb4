"""A session's rules, without I/O: what is sent next, what each answer means, when to connect again.

Both faces drive this. Time is an argument, in seconds of any clock that does not go back; answers
go in by `handle_*`; what is to be sent comes out of `next`, what became of it out of `outcomes`.

Sequences are places: the first observation that is not yet durable has the number behind the
durable ones, and so on. So one that is refused for good takes no number with it, and a refusal that
passes sends everything again from there, once all that is under way is answered. What the server
made durable before a connection was lost it tells on resuming.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import itertools
import random
from typing import Generic, TypeVar, Union

import grpc

from engram_client import errors
from engram_client._delays import Delays
from engram_client._proto import memory_pb2
from engram_client._proto import service_pb2 as wire
from engram_client.types import (
    Episode,
    Memory,
    Receipt,
    Recall,
    Recollection,
    SessionOptions,
    moment,
)

#: Room for what a message holds beside the episode.
_ENVELOPE_BYTES = 256
#: What waits goes in one message up to about this: each message costs more than the observations in
#: it.
BATCH_BYTES = 64 << 10
#: Messages that are not answered; with so many, observations wait and go together. A server takes a
#: flood of small frames for an attack.
MESSAGES_UNDER_WAY_MAX = 32

Token = TypeVar("Token")
_Status = wire.StreamStatus
_Ack = wire.ObservationAck


class State(enum.Enum):
    """How far a session has come."""

    LOST = "lost"  # No call; `connect_at` says when to make one.
    OPENING = "opening"  # `init` is on its way.
    OPEN = "open"
    CLOSED = "closed"
    FAILED = "failed"


@dataclasses.dataclass(frozen=True)
class Send:
    """Send these bytes, then ask again."""

    message: bytes


@dataclasses.dataclass(frozen=True)
class Wait:
    """Nothing to send before this time, or, where it is `None`, before something else happens."""

    until: float | None


@dataclasses.dataclass(frozen=True)
class Outcome(Generic[Token]):
    """What became of what `token` stands for."""

    token: Token
    result: Union[Receipt, Recollection, errors.EngramError]


@dataclasses.dataclass
class _Entry(Generic[Token]):
    token: Token
    episode: memory_pb2.Episode
    size: int


@dataclasses.dataclass
class _Recall(Generic[Token]):
    token: Token
    request: wire.StreamingRecallRequest
    # So many observations were taken before it.
    behind: int
    found: list[Memory] = dataclasses.field(default_factory=list)


class Machine(Generic[Token]):
    """One session over as many calls as it takes."""

    def __init__(
        self,
        space: str,
        session_id: str,
        options: SessionOptions,
        chance: random.Random,
        now: float,
    ) -> None:
        self.space = space
        self.session_id = session_id
        self.options = options
        self.state = State.LOST
        self.connect_at = now
        self.error: errors.EngramError | None = None
        #: The last durable sequence when the session was first opened here; `None` before that.
        self.initial_sequence: int | None = None
        self.durable_sequence = 0
        self.refusals = 0
        self.reconnects = 0
        self._outcomes: list[Outcome[Token]] = []
        # Observations without an outcome. The first `_sent` were sent in this call, the first
        # `_ever_sent` in any.
        self._pending: collections.deque[_Entry[Token]] = collections.deque()
        self._pending_bytes = 0
        self._sent = 0
        self._ever_sent = 0
        # Sent in this call and not answered: more than `_sent` while going back.
        self._under_way = 0
        # The last sequence in each message of them.
        self._messages: collections.deque[int] = collections.deque()
        self._going_back = False
        self._told: wire.ObservationResponse | None = None
        # Observations with an outcome.
        self._settled = 0
        self._held = False
        self._limit = options.in_flight_max
        # How many may be under way: fewer after a refusal for overload.
        self._window = self._limit
        self._grown = 0
        self._paused = False
        self._hold_until = now
        self._rate = 0.0
        self._recalls: dict[str, _Recall[Token]] = {}
        self._recalls_unsent: collections.deque[str] = collections.deque()
        self._recall_count = 0
        self._close: wire.StreamClose | None = None
        self._close_sent = False
        self._init_sent = False
        # Since when nothing was acked although calls broke.
        self._stuck_since: float | None = now
        self._delays = Delays(options.reconnect_delay, options.reconnect_delay_max, chance)

    @property
    def in_flight(self) -> int:
        """Observations that were taken and have no outcome yet."""
        return len(self._pending)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen."""
        return self.state in (State.CLOSED, State.FAILED)

    def has_room(self) -> bool:
        """Whether an observation may be submitted. Changes with outcomes."""
        return (
            len(self._pending) < self._limit
            and self._pending_bytes < self.options.in_flight_bytes_max
        )

    # What the caller wants.

    def check_usable(self) -> None:
        """Raises what ended the session, if it is at its end."""
        if self.error is not None:
            raise self.error
        if self._close is not None:
            raise errors.SessionClosedError("the session is closed")

    def encode(self, episode: Episode) -> memory_pb2.Episode:
        """An observation as it is sent; raises if the server would not read it."""
        encoded = episode.to_wire()
        size = encoded.ByteSize() + _ENVELOPE_BYTES
        if size > self.options.message_bytes_max:
            most = self.options.message_bytes_max
            raise errors.MessageTooLargeError(
                f"an observation of {size} bytes; {most} fit into a message"
            )
        return encoded

    def submit(self, token: Token, episode: memory_pb2.Episode) -> None:
        """Takes an observation, for which there is room."""
        self.check_usable()
        assert self.has_room(), "asked before"
        size = episode.ByteSize() + _ENVELOPE_BYTES
        self._pending.append(_Entry(token, episode, size))
        self._pending_bytes += size

    def recall(self, token: Token, recall: Recall) -> None:
        """Recalls on the session's stream, behind the observations that were taken before; while
        these are held, it does not wait for them."""
        self.check_usable()
        if not self.options.recalls:
            raise ValueError("the session was not opened with recalls")
        self._recall_count += 1
        request = recall.to_wire(self.space, f"recall-{self._recall_count}")
        behind = self._settled + len(self._pending)
        self._recalls[request.request_id] = _Recall(token, request, behind)
        self._recalls_unsent.append(request.request_id)

    def hold(self, held: bool) -> None:
        """Sends no observation until told otherwise, or goes on."""
        self.check_usable()
        self._held = held

    def close(self, drain: bool) -> None:
        """Ends the session once all is acked; with `drain`, once it is in the index too."""
        self.check_usable()
        self._held = False
        self._close = wire.StreamClose(drain_queue=drain)

    def abandon(self) -> None:
        """Ends it at once; the session stays on the server, to be resumed by its id."""
        if not self.is_over:
            self._fail(
                errors.SessionClosedError("the session was left; it can be resumed by its id")
            )

    # What happens to the call.

    def handle_connecting(self, now: float) -> None:
        """A call is being made: `next` begins with its `init`."""
        assert self.state is State.LOST, "one call at a time"
        self.state = State.OPENING
        self._sent = 0
        self._under_way = 0
        self._messages.clear()
        self._going_back = False
        self._told = None
        self._paused = False
        self._rate = 0.0
        self._hold_until = now
        self._close_sent = False
        self._init_sent = False
        self._recalls_unsent = collections.deque(self._recalls)
        for waiting in self._recalls.values():
            waiting.found.clear()

    def handle_end(self, error: errors.EngramError | None, now: float) -> None:
        """The call is over; `None`: in order."""
        if self.is_over:
            return
        self.state = State.LOST
        if error is None:
            error = errors.UnavailableError("the server ended the stream")
        if not errors.passes(error) and not isinstance(error, errors.OverloadedError):
            self._fail(error)
            return
        if self._stuck_since is None:
            self._stuck_since = now
        self.connect_at = now + self._delays.next(error.retry_after)
        patience = self.options.patience
        if patience is not None and self.connect_at - self._stuck_since > patience:
            self._give_up(error)

    def handle_response(self, response: wire.ObservationResponse, now: float) -> None:
        """The server said something."""
        if self.is_over:
            return
        result = response.WhichOneof("result")
        if result == "init_ack":
            self._handle_init_ack(response.init_ack)
        elif result == "ack":
            self._handle_ack(response, now)
        elif result == "status":
            self._handle_status(response, now)
        elif result == "recall_result":
            self._handle_recalled(response.recall_result)

    # What is to be done.

    def next(self, now: float) -> Send | Wait:
        """What to send on the call. Changes with time, and with every other call of this object."""
        if self.state is State.OPENING:
            return self._next_opening(now)
        if self.state is not State.OPEN:
            return Wait(None)
        if self._recalls_unsent and self._is_turn_of(self._recalls[self._recalls_unsent[0]]):
            request = self._recalls[self._recalls_unsent.popleft()].request
            return self._send(wire.ObservationRequest(recall=request))
        if self._going_back:
            if self._under_way:
                return Wait(None)
            self._going_back = False
            self._messages.clear()
        if self._sent < len(self._pending):
            return self._next_observations(now)
        if (
            self._close is not None
            and not self._pending
            and not self._recalls
            and not self._close_sent
        ):
            self._close_sent = True
            self._close.last_sequence = self.durable_sequence
            return self._send(wire.ObservationRequest(close=self._close))
        return Wait(None)

    def outcomes(self) -> list[Outcome[Token]]:
        """What is decided since the last time."""
        taken, self._outcomes = self._outcomes, []
        return taken

    # Below: sending.

    def _is_turn_of(self, recall: _Recall[Token]) -> bool:
        return self._held or recall.behind <= self._settled + self._sent

    def _next_opening(self, now: float) -> Send | Wait:
        if not self._init_sent:
            self._init_sent = True
            init = wire.StreamInit(
                client_buffer_size=self.options.in_flight_max,
                enable_backpressure=True,
                ack_mode=wire.ACK_MODE_CUMULATIVE,
                priority=self.options.priority.value,
            )
            return self._send(wire.ObservationRequest(memory_space_id=self.space, init=init))
        if self.options.patience is None or self._stuck_since is None:
            return Wait(None)
        until = self._stuck_since + self.options.patience
        if now < until:
            return Wait(until)
        self._give_up(errors.UnavailableError("init was not answered"))
        return Wait(None)

    def _next_observations(self, now: float) -> Send | Wait:
        room = self._window - self._under_way
        if self._held or self._paused or room <= 0 or len(self._messages) >= MESSAGES_UNDER_WAY_MAX:
            return Wait(None)
        if now < self._hold_until:
            return Wait(self._hold_until)
        if self._rate > 0:
            self._hold_until = now + 1 / self._rate
            room = 1
        first = self.durable_sequence + self._sent + 1
        episodes = self._take_unsent(room)
        self._sent += len(episodes)
        self._under_way += len(episodes)
        self._ever_sent = max(self._ever_sent, self._sent)
        self._messages.append(self.durable_sequence + self._sent)
        if len(episodes) == 1:
            return self._send(
                wire.ObservationRequest(sequence_number=first, observation=episodes[0])
            )
        batch = wire.ObservationBatch(observations=episodes)
        return self._send(wire.ObservationRequest(sequence_number=first, batch=batch))

    def _take_unsent(self, room: int) -> list[memory_pb2.Episode]:
        """Those that go in one message: at least one."""
        episodes: list[memory_pb2.Episode] = []
        size = 0
        for entry in itertools.islice(self._pending, self._sent, self._sent + room):
            size += entry.size
            if episodes and size > min(BATCH_BYTES, self.options.message_bytes_max):
                break
            episodes.append(entry.episode)
        return episodes

    def _send(self, request: wire.ObservationRequest) -> Send:
        request.session_id = self.session_id
        return Send(request.SerializeToString())

    # Below: answers.

    def _handle_init_ack(self, ack: wire.StreamInitAck) -> None:
        if self.state is not State.OPENING:
            return self._violated("a second init_ack")
        if self.session_id not in ("", ack.session_id):
            return self._violated(f"session {ack.session_id} instead of {self.session_id}")
        durable = ack.initial_sequence
        if self.initial_sequence is None:
            self.initial_sequence = self.durable_sequence = durable
        else:
            self.reconnects += 1
        if not self.durable_sequence <= durable <= self.durable_sequence + self._ever_sent:
            last = self.durable_sequence + self._ever_sent
            return self._violated(
                f"resumed at {durable}, not from {self.durable_sequence} to {last}"
            )
        self.session_id = ack.session_id
        self.state = State.OPEN
        if ack.capabilities.queue_capacity:
            self._limit = min(self.options.in_flight_max, ack.capabilities.queue_capacity)
            self._window = min(self._window, self._limit)
        while self.durable_sequence < durable:
            self._accept(None)
        if not self._pending:
            self._progressed()

    def _handle_ack(self, response: wire.ObservationResponse, now: float) -> None:
        ack, last = response.ack, response.sequence_number
        if ack.status == _Ack.STATUS_REJECTED:
            return self._handle_rejected(last, ack, now)
        if ack.status != _Ack.STATUS_ACCEPTED or last <= self.durable_sequence:
            return None
        first = ack.first_sequence or last
        count = last + 1 - first
        if first != self.durable_sequence + 1 or count > self._sent or self._going_back:
            return self._violated(
                f"acked {first} to {last}, but the turn is at {self.durable_sequence + 1}"
            )
        self._under_way -= count
        self._sent -= count
        for _ in range(count):
            self._accept(ack)
        while self._messages and self._messages[0] <= last:
            self._messages.popleft()
        self._grow(count)
        self._progressed()

    def _accept(self, ack: wire.ObservationAck | None) -> None:
        """The first pending one is durable."""
        entry = self._take_first()
        self.durable_sequence += 1
        own_id = entry.episode.id
        receipt = Receipt(
            sequence=self.durable_sequence,
            memory_id=own_id or f"mem_{self.session_id}_{self.durable_sequence}",
            committed_at=(
                moment(ack.committed_at)
                if ack is not None and ack.HasField("committed_at")
                else None
            ),
        )
        self._outcomes.append(Outcome(entry.token, receipt))

    def _handle_rejected(self, sequence: int, ack: wire.ObservationAck, now: float) -> None:
        told, self._told = self._told, None
        expected = self.durable_sequence + 1
        if (
            self._under_way == 0
            or sequence < expected
            or not self._going_back
            and sequence != expected
        ):
            return self._violated(f"refused {sequence}, which is not under way")
        self._under_way -= 1
        if self._going_back:
            # What follows a refused one is refused as well; it goes again with it.
            return None
        self._going_back = True
        self._sent = 0
        status = told.status if told is not None and told.sequence_number == sequence else _Status()
        if status.state == _Status.STATE_OVERLOADED:
            self.refusals += 1
            self._window = max(1, self._window // 2)
            self._hold(status.retry_after_ms / 1e3, now)
        elif status.state == _Status.STATE_PAUSED:
            self._paused = True
        elif status.message.startswith("Sequence validation failed"):
            return self._violated(status.message)
        else:
            entry = self._take_first()
            self._outcomes.append(Outcome(entry.token, _invalid_observation(status.message)))

    def _take_first(self) -> _Entry[Token]:
        entry = self._pending.popleft()
        self._pending_bytes -= entry.size
        self._ever_sent -= 1
        self._settled += 1
        return entry

    def _handle_status(self, response: wire.ObservationResponse, now: float) -> None:
        status = response.status
        if (
            status.request_id
            or status.state == _Status.STATE_ERROR
            and response.sequence_number == 0
        ):
            self._handle_recall_refused(status)
        elif status.state == _Status.STATE_ACTIVE:
            self._paused = False
            self._rate = 0.0
            self._hold_until = now
        elif status.state == _Status.STATE_BACKPRESSURE:
            self._rate = status.preferred_rate
        elif status.state == _Status.STATE_CLOSED:
            if self._close_sent:
                self._handle_closed(response.sequence_number)
        elif response.sequence_number:
            # It says why the ack that follows is a refusal.
            self._told = response
        elif status.state == _Status.STATE_PAUSED:
            self._paused = True
        elif status.state == _Status.STATE_OVERLOADED:
            self._hold(status.retry_after_ms / 1e3, now)

    def _handle_closed(self, last: int) -> None:
        if last != self.durable_sequence:
            return self._violated(f"closed at {last}, but {self.durable_sequence} were acked")
        self.state = State.CLOSED

    def _handle_recalled(self, page: wire.StreamingRecallResponse) -> None:
        waiting = self._recalls.get(page.request_id)
        if waiting is None:
            return self._violated(f"results of {page.request_id!r}, which was not asked")
        waiting.found.extend(map(Memory.from_wire, page.results))
        if page.HasField("metadata"):
            del self._recalls[page.request_id]
            rows = page.metadata.total_activated
            recollection = Recollection(waiting.found, page.snapshot_sequence, rows)
            self._outcomes.append(Outcome(waiting.token, recollection))

    def _handle_recall_refused(self, status: wire.StreamStatus) -> None:
        request_id = status.request_id or next(iter(self._recalls), "")
        waiting = self._recalls.pop(request_id, None)
        if waiting is not None:
            served = not status.message.startswith("Not served")
            kind = errors.InvalidRequestError if served else errors.NotServedError
            self._outcomes.append(Outcome(waiting.token, kind(status.message)))

    # Below: time and failure.

    def _hold(self, seconds: float, now: float) -> None:
        self._hold_until = max(self._hold_until, now + self._delays.jittered(seconds))

    def _grow(self, acked: int) -> None:
        """One more for each whole window that was acked."""
        if self._window >= self._limit:
            return
        self._grown += acked
        while self._grown >= self._window and self._window < self._limit:
            self._grown -= self._window
            self._window += 1

    def _progressed(self) -> None:
        self._stuck_since = None
        self._delays.reset()

    def _give_up(self, last: errors.EngramError) -> None:
        tried = f"nothing came of it for {self.options.patience} s; the last try: {last.message}"
        if isinstance(last, errors.OverloadedError):
            self._fail(last)
        else:
            self._fail(errors.UnavailableError(tried, code=last.code, retry_after=last.retry_after))

    def _violated(self, message: str) -> None:
        self._fail(errors.ProtocolViolationError(message))

    def _fail(self, error: errors.EngramError) -> None:
        self.state = State.FAILED
        self.error = error
        tokens = [entry.token for entry in self._pending]
        tokens += [waiting.token for waiting in self._recalls.values()]
        self._outcomes += [Outcome(token, error) for token in tokens]
        self._pending.clear()
        self._recalls.clear()
        self._pending_bytes = 0


def _invalid_observation(message: str) -> errors.InvalidObservationError:
    """The server names the field at the end: `… (field: NAME)`."""
    text, mark, field = message.rpartition(" (field: ")
    if not mark or not field.endswith(")"):
        return errors.InvalidObservationError(
            message or "refused", code=grpc.StatusCode.INVALID_ARGUMENT
        )
    return errors.InvalidObservationError(
        text, code=grpc.StatusCode.INVALID_ARGUMENT, field=field[:-1]
    )
