from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ConfidenceCategory(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONFIDENCE_CATEGORY_UNSPECIFIED: _ClassVar[ConfidenceCategory]
    CONFIDENCE_CATEGORY_NONE: _ClassVar[ConfidenceCategory]
    CONFIDENCE_CATEGORY_LOW: _ClassVar[ConfidenceCategory]
    CONFIDENCE_CATEGORY_MEDIUM: _ClassVar[ConfidenceCategory]
    CONFIDENCE_CATEGORY_HIGH: _ClassVar[ConfidenceCategory]
    CONFIDENCE_CATEGORY_CERTAIN: _ClassVar[ConfidenceCategory]

class MemoryType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEMORY_TYPE_UNSPECIFIED: _ClassVar[MemoryType]
    MEMORY_TYPE_EPISODIC: _ClassVar[MemoryType]
    MEMORY_TYPE_SEMANTIC: _ClassVar[MemoryType]
    MEMORY_TYPE_PROCEDURAL: _ClassVar[MemoryType]
    MEMORY_TYPE_WORKING: _ClassVar[MemoryType]

class ConsolidationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CONSOLIDATION_STATE_UNSPECIFIED: _ClassVar[ConsolidationState]
    CONSOLIDATION_STATE_RECENT: _ClassVar[ConsolidationState]
    CONSOLIDATION_STATE_CONSOLIDATING: _ClassVar[ConsolidationState]
    CONSOLIDATION_STATE_CONSOLIDATED: _ClassVar[ConsolidationState]
    CONSOLIDATION_STATE_RECONSOLIDATING: _ClassVar[ConsolidationState]

class TimeUnit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIME_UNIT_UNSPECIFIED: _ClassVar[TimeUnit]
    TIME_UNIT_SECONDS: _ClassVar[TimeUnit]
    TIME_UNIT_MINUTES: _ClassVar[TimeUnit]
    TIME_UNIT_HOURS: _ClassVar[TimeUnit]
    TIME_UNIT_DAYS: _ClassVar[TimeUnit]
    TIME_UNIT_WEEKS: _ClassVar[TimeUnit]
    TIME_UNIT_MONTHS: _ClassVar[TimeUnit]
    TIME_UNIT_YEARS: _ClassVar[TimeUnit]

class RelativeDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELATIVE_DIRECTION_UNSPECIFIED: _ClassVar[RelativeDirection]
    RELATIVE_DIRECTION_BEFORE: _ClassVar[RelativeDirection]
    RELATIVE_DIRECTION_AFTER: _ClassVar[RelativeDirection]
    RELATIVE_DIRECTION_AROUND: _ClassVar[RelativeDirection]

class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DURABILITY_DURABLE: _ClassVar[Durability]
    DURABILITY_IN_FLIGHT: _ClassVar[Durability]
CONFIDENCE_CATEGORY_UNSPECIFIED: ConfidenceCategory
CONFIDENCE_CATEGORY_NONE: ConfidenceCategory
CONFIDENCE_CATEGORY_LOW: ConfidenceCategory
CONFIDENCE_CATEGORY_MEDIUM: ConfidenceCategory
CONFIDENCE_CATEGORY_HIGH: ConfidenceCategory
CONFIDENCE_CATEGORY_CERTAIN: ConfidenceCategory
MEMORY_TYPE_UNSPECIFIED: MemoryType
MEMORY_TYPE_EPISODIC: MemoryType
MEMORY_TYPE_SEMANTIC: MemoryType
MEMORY_TYPE_PROCEDURAL: MemoryType
MEMORY_TYPE_WORKING: MemoryType
CONSOLIDATION_STATE_UNSPECIFIED: ConsolidationState
CONSOLIDATION_STATE_RECENT: ConsolidationState
CONSOLIDATION_STATE_CONSOLIDATING: ConsolidationState
CONSOLIDATION_STATE_CONSOLIDATED: ConsolidationState
CONSOLIDATION_STATE_RECONSOLIDATING: ConsolidationState
TIME_UNIT_UNSPECIFIED: TimeUnit
TIME_UNIT_SECONDS: TimeUnit
TIME_UNIT_MINUTES: TimeUnit
TIME_UNIT_HOURS: TimeUnit
TIME_UNIT_DAYS: TimeUnit
TIME_UNIT_WEEKS: TimeUnit
TIME_UNIT_MONTHS: TimeUnit
TIME_UNIT_YEARS: TimeUnit
RELATIVE_DIRECTION_UNSPECIFIED: RelativeDirection
RELATIVE_DIRECTION_BEFORE: RelativeDirection
RELATIVE_DIRECTION_AFTER: RelativeDirection
RELATIVE_DIRECTION_AROUND: RelativeDirection
DURABILITY_DURABLE: Durability
DURABILITY_IN_FLIGHT: Durability

class Confidence(_message.Message):
    __slots__ = ("value", "category", "reasoning")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    REASONING_FIELD_NUMBER: _ClassVar[int]
    value: float
    category: ConfidenceCategory
    reasoning: str
    def __init__(self, value: _Optional[float] = ..., category: _Optional[_Union[ConfidenceCategory, str]] = ..., reasoning: _Optional[str] = ...) -> None: ...

class Memory(_message.Message):
    __slots__ = ("id", "embedding", "activation", "confidence", "last_access", "created_at", "decay_rate", "content", "metadata", "tags", "memory_type", "durability")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_ACCESS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DECAY_RATE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_TYPE_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    id: str
    embedding: _containers.RepeatedScalarFieldContainer[float]
    activation: float
    confidence: Confidence
    last_access: _timestamp_pb2.Timestamp
    created_at: _timestamp_pb2.Timestamp
    decay_rate: float
    content: str
    metadata: _containers.ScalarMap[str, str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    memory_type: MemoryType
    durability: Durability
    def __init__(self, id: _Optional[str] = ..., embedding: _Optional[_Iterable[float]] = ..., activation: _Optional[float] = ..., confidence: _Optional[_Union[Confidence, _Mapping]] = ..., last_access: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., decay_rate: _Optional[float] = ..., content: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., tags: _Optional[_Iterable[str]] = ..., memory_type: _Optional[_Union[MemoryType, str]] = ..., durability: _Optional[_Union[Durability, str]] = ...) -> None: ...

class Episode(_message.Message):
    __slots__ = ("id", "when", "what", "embedding", "encoding_confidence", "where_location", "who", "why", "how", "decay_rate", "emotional_valence", "importance", "consolidation_state", "last_replay", "embedding_f32", "embedding_f16")
    ID_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    ENCODING_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    WHERE_LOCATION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    HOW_FIELD_NUMBER: _ClassVar[int]
    DECAY_RATE_FIELD_NUMBER: _ClassVar[int]
    EMOTIONAL_VALENCE_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    CONSOLIDATION_STATE_FIELD_NUMBER: _ClassVar[int]
    LAST_REPLAY_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_F32_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_F16_FIELD_NUMBER: _ClassVar[int]
    id: str
    when: _timestamp_pb2.Timestamp
    what: str
    embedding: _containers.RepeatedScalarFieldContainer[float]
    encoding_confidence: Confidence
    where_location: str
    who: _containers.RepeatedScalarFieldContainer[str]
    why: str
    how: str
    decay_rate: float
    emotional_valence: float
    importance: float
    consolidation_state: ConsolidationState
    last_replay: _timestamp_pb2.Timestamp
    embedding_f32: bytes
    embedding_f16: bytes
    def __init__(self, id: _Optional[str] = ..., when: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., what: _Optional[str] = ..., embedding: _Optional[_Iterable[float]] = ..., encoding_confidence: _Optional[_Union[Confidence, _Mapping]] = ..., where_location: _Optional[str] = ..., who: _Optional[_Iterable[str]] = ..., why: _Optional[str] = ..., how: _Optional[str] = ..., decay_rate: _Optional[float] = ..., emotional_valence: _Optional[float] = ..., importance: _Optional[float] = ..., consolidation_state: _Optional[_Union[ConsolidationState, str]] = ..., last_replay: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., embedding_f32: _Optional[bytes] = ..., embedding_f16: _Optional[bytes] = ...) -> None: ...

class Cue(_message.Message):
    __slots__ = ("id", "embedding", "context", "temporal", "semantic", "pattern", "threshold", "max_results", "spread_activation", "activation_decay")
    ID_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TEMPORAL_FIELD_NUMBER: _ClassVar[int]
    SEMANTIC_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULTS_FIELD_NUMBER: _ClassVar[int]
    SPREAD_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_DECAY_FIELD_NUMBER: _ClassVar[int]
    id: str
    embedding: EmbeddingCue
    context: ContextCue
    temporal: TemporalCue
    semantic: SemanticCue
    pattern: PatternCue
    threshold: Confidence
    max_results: int
    spread_activation: bool
    activation_decay: float
    def __init__(self, id: _Optional[str] = ..., embedding: _Optional[_Union[EmbeddingCue, _Mapping]] = ..., context: _Optional[_Union[ContextCue, _Mapping]] = ..., temporal: _Optional[_Union[TemporalCue, _Mapping]] = ..., semantic: _Optional[_Union[SemanticCue, _Mapping]] = ..., pattern: _Optional[_Union[PatternCue, _Mapping]] = ..., threshold: _Optional[_Union[Confidence, _Mapping]] = ..., max_results: _Optional[int] = ..., spread_activation: bool = ..., activation_decay: _Optional[float] = ...) -> None: ...

class EmbeddingCue(_message.Message):
    __slots__ = ("vector", "similarity_threshold")
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    vector: _containers.RepeatedScalarFieldContainer[float]
    similarity_threshold: float
    def __init__(self, vector: _Optional[_Iterable[float]] = ..., similarity_threshold: _Optional[float] = ...) -> None: ...

class ContextCue(_message.Message):
    __slots__ = ("time_start", "time_end", "location", "participants")
    TIME_START_FIELD_NUMBER: _ClassVar[int]
    TIME_END_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    time_start: _timestamp_pb2.Timestamp
    time_end: _timestamp_pb2.Timestamp
    location: str
    participants: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, time_start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., time_end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., location: _Optional[str] = ..., participants: _Optional[_Iterable[str]] = ...) -> None: ...

class TemporalCue(_message.Message):
    __slots__ = ("pattern", "reference_time")
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_TIME_FIELD_NUMBER: _ClassVar[int]
    pattern: TemporalPattern
    reference_time: _timestamp_pb2.Timestamp
    def __init__(self, pattern: _Optional[_Union[TemporalPattern, _Mapping]] = ..., reference_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TemporalPattern(_message.Message):
    __slots__ = ("cron_expression", "interval", "relative")
    CRON_EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    cron_expression: str
    interval: RepeatingInterval
    relative: RelativeTime
    def __init__(self, cron_expression: _Optional[str] = ..., interval: _Optional[_Union[RepeatingInterval, _Mapping]] = ..., relative: _Optional[_Union[RelativeTime, _Mapping]] = ...) -> None: ...

class RepeatingInterval(_message.Message):
    __slots__ = ("value", "unit")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    value: int
    unit: TimeUnit
    def __init__(self, value: _Optional[int] = ..., unit: _Optional[_Union[TimeUnit, str]] = ...) -> None: ...

class RelativeTime(_message.Message):
    __slots__ = ("offset", "unit", "direction")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    offset: int
    unit: TimeUnit
    direction: RelativeDirection
    def __init__(self, offset: _Optional[int] = ..., unit: _Optional[_Union[TimeUnit, str]] = ..., direction: _Optional[_Union[RelativeDirection, str]] = ...) -> None: ...

class SemanticCue(_message.Message):
    __slots__ = ("query", "fuzzy_threshold", "required_tags", "excluded_tags")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    FUZZY_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_TAGS_FIELD_NUMBER: _ClassVar[int]
    EXCLUDED_TAGS_FIELD_NUMBER: _ClassVar[int]
    query: str
    fuzzy_threshold: float
    required_tags: _containers.RepeatedScalarFieldContainer[str]
    excluded_tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, query: _Optional[str] = ..., fuzzy_threshold: _Optional[float] = ..., required_tags: _Optional[_Iterable[str]] = ..., excluded_tags: _Optional[_Iterable[str]] = ...) -> None: ...

class PatternCue(_message.Message):
    __slots__ = ("fragments", "completion_threshold")
    FRAGMENTS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    fragments: _containers.RepeatedCompositeFieldContainer[PartialMemory]
    completion_threshold: float
    def __init__(self, fragments: _Optional[_Iterable[_Union[PartialMemory, _Mapping]]] = ..., completion_threshold: _Optional[float] = ...) -> None: ...

class PartialMemory(_message.Message):
    __slots__ = ("known_fields", "missing_fields", "fragment_confidence")
    class KnownFieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KNOWN_FIELDS_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELDS_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    known_fields: _containers.ScalarMap[str, str]
    missing_fields: _containers.RepeatedScalarFieldContainer[str]
    fragment_confidence: Confidence
    def __init__(self, known_fields: _Optional[_Mapping[str, str]] = ..., missing_fields: _Optional[_Iterable[str]] = ..., fragment_confidence: _Optional[_Union[Confidence, _Mapping]] = ...) -> None: ...
