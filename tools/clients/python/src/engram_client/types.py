"""What goes in and what comes out."""

from __future__ import annotations

import array
import dataclasses
import datetime
import enum
from typing import Collection, Mapping, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from engram_client import embedding as vectors
from engram_client._proto import memory_pb2, service_pb2
from engram_client.embedding import Embedding


class Priority(enum.Enum):
    """The lane of admission: the fuller the server, the higher the lane that it still takes."""

    NORMAL = service_pb2.PRIORITY_NORMAL
    HIGH = service_pb2.PRIORITY_HIGH
    LOW = service_pb2.PRIORITY_LOW


@dataclasses.dataclass(frozen=True)
class Episode:
    """What is observed. Without an `id` the server names it `mem_{session}_{sequence}`; an id that
    the space holds already replaces that memory."""

    what: str
    embedding: Embedding
    id: str = ""
    when: datetime.datetime | None = None
    where: str = ""
    who: Sequence[str] = ()
    why: str = ""
    how: str = ""
    confidence: float | None = None
    importance: float = 0.0
    emotional_valence: float = 0.0
    decay_rate: float = 0.0

    def to_wire(self) -> memory_pb2.Episode:
        """The contract's message."""
        episode = memory_pb2.Episode(
            id=self.id,
            what=self.what,
            where_location=self.where,
            who=self.who,
            why=self.why,
            how=self.how,
            importance=self.importance,
            emotional_valence=self.emotional_valence,
            decay_rate=self.decay_rate,
        )
        field, data = vectors.wire_bytes(self.embedding)
        setattr(episode, field, data)
        if self.when is not None:
            episode.when.CopyFrom(timestamp(self.when))
        if self.confidence is not None:
            episode.encoding_confidence.value = self.confidence
        return episode


@dataclasses.dataclass(frozen=True)
class Receipt:
    """An observation that is durable.

    `committed_at` is a time by which it was; `None` where the server told only on resuming that it
    had become durable before the connection was lost.
    """

    sequence: int
    memory_id: str
    committed_at: datetime.datetime | None


@dataclasses.dataclass(frozen=True)
class Memory:
    """What a recall found. `embedding` is an `array('f')` where it was asked for, which numpy reads
    without a copy."""

    id: str
    content: str
    activation: float
    confidence: float
    created_at: datetime.datetime | None
    durable: bool
    metadata: Mapping[str, str]
    tags: Sequence[str]
    embedding: Sequence[float] | None

    @staticmethod
    def from_wire(memory: memory_pb2.Memory) -> Memory:
        """Of the contract's message."""
        return Memory(
            id=memory.id,
            content=memory.content,
            activation=memory.activation,
            confidence=memory.confidence.value,
            created_at=moment(memory.created_at) if memory.HasField("created_at") else None,
            durable=memory.durability == memory_pb2.DURABILITY_DURABLE,
            metadata=dict(memory.metadata),
            tags=tuple(memory.tags),
            embedding=array.array("f", memory.embedding) if memory.embedding else None,
        )


@dataclasses.dataclass(frozen=True)
class Page:
    """Some results of a recall, best first, and the number of observations that its snapshot
    holds."""

    memories: Sequence[Memory]
    snapshot_sequence: int


@dataclasses.dataclass(frozen=True)
class Recollection:
    """All results of a recall, best first.

    `rows` is how many memories the space holds, `snapshot_sequence` how many observations were
    durable in it.
    """

    memories: Sequence[Memory]
    snapshot_sequence: int
    rows: int


@dataclasses.dataclass(frozen=True)
class RecallFilter:
    """What a memory must match to be found: `when` from `start` to before `end`, and all of the
    rest."""

    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    where: str = ""
    who: Sequence[str] = ()
    tags: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Recall:
    """What is recalled: the memories most similar to `embedding`.

    `durable_only` leaves out what is not yet on disk; `width` is how many rows the search keeps, 0:
    the server chooses.
    """

    embedding: Embedding
    max_results: int = 10
    durable_only: bool = False
    similarity_min: float = 0.0
    page_size: int = 0
    width: int = 0
    include_embeddings: bool = False
    filter: RecallFilter | None = None
    snapshot_time: datetime.datetime | None = None

    def to_wire(self, space: str, request_id: str = "") -> service_pb2.StreamingRecallRequest:
        """The contract's message."""
        cue = memory_pb2.EmbeddingCue(
            vector=vectors.numbers(self.embedding), similarity_threshold=self.similarity_min
        )
        request = service_pb2.StreamingRecallRequest(
            memory_space_id=space,
            cue=memory_pb2.Cue(embedding=cue),
            max_results=self.max_results,
            snapshot_isolation=self.durable_only,
            page_size=self.page_size,
            search_width=self.width,
            include_embeddings=self.include_embeddings,
            request_id=request_id,
        )
        if self.filter is not None:
            request.filter.where_location = self.filter.where
            request.filter.who.extend(self.filter.who)
            request.filter.tags.extend(self.filter.tags)
            if self.filter.start is not None:
                getattr(request.filter, "from").CopyFrom(timestamp(self.filter.start))
            if self.filter.end is not None:
                request.filter.to.CopyFrom(timestamp(self.filter.end))
        if self.snapshot_time is not None:
            request.snapshot_time.CopyFrom(timestamp(self.snapshot_time))
        return request


class EventKind(enum.Enum):
    """What can happen in a space, and what is not known of it."""

    STORED = "stored"
    RECALLED = "recalled"
    #: Events are missing here, because they were read too slowly.
    MISSED = "missed"
    #: The connection was made anew: what happened meanwhile is missing here.
    INTERRUPTED = "interrupted"


@dataclasses.dataclass(frozen=True)
class Event:
    """Something that happened. `memory_id` is the memory that was stored, or the best that was
    recalled; `missed` is how many events are missing."""

    kind: EventKind
    at: datetime.datetime | None = None
    memory_id: str = ""
    importance: float = 0.0
    missed: int = 0
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Subscription:
    """What is wanted of a space's events: those of `kinds` (stored and recalled; none: both) that
    matter at least so much. `buffer` of them may wait; 0: the server chooses."""

    kinds: Collection[EventKind] = ()
    importance_min: float = 0.0
    buffer: int = 0


@dataclasses.dataclass(frozen=True)
class SessionOptions:
    """How a session behaves.

    At most `in_flight_max` observations, and `in_flight_bytes_max` bytes of them, wait for their
    acks; the server's own capacity bounds the first too. The client gives up with
    `UnavailableError` `patience` seconds after a connection was lost if nothing has been acked
    since; `None`: never. `recalls` opens the stream that takes recalls beside observations.
    """

    in_flight_max: int = 1_024
    in_flight_bytes_max: int = 16 << 20
    message_bytes_max: int = 4 << 20
    priority: Priority = Priority.NORMAL
    patience: float | None = 60.0
    reconnect_delay: float = 0.05
    reconnect_delay_max: float = 5.0
    recalls: bool = False

    def __post_init__(self) -> None:
        if self.in_flight_max < 1:
            raise ValueError("nothing would ever be sent")


def timestamp(moment_: datetime.datetime) -> Timestamp:
    """A time on the wire; one without a zone counts as UTC, as protobuf has it."""
    made = Timestamp()
    made.FromDatetime(moment_)
    return made


def moment(made: Timestamp) -> datetime.datetime:
    """A time of the wire, in UTC."""
    return made.ToDatetime(tzinfo=datetime.timezone.utc)
