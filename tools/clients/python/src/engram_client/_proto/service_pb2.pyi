from engram_client._proto import memory_pb2 as _memory_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StreamEventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STREAM_EVENT_TYPE_UNSPECIFIED: _ClassVar[StreamEventType]
    STREAM_EVENT_TYPE_ACTIVATION: _ClassVar[StreamEventType]
    STREAM_EVENT_TYPE_STORAGE: _ClassVar[StreamEventType]
    STREAM_EVENT_TYPE_RECALL: _ClassVar[StreamEventType]
    STREAM_EVENT_TYPE_CONSOLIDATION: _ClassVar[StreamEventType]
    STREAM_EVENT_TYPE_ASSOCIATION: _ClassVar[StreamEventType]
    STREAM_EVENT_TYPE_DECAY: _ClassVar[StreamEventType]

class ForgetMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORGET_MODE_UNSPECIFIED: _ClassVar[ForgetMode]
    FORGET_MODE_SUPPRESS: _ClassVar[ForgetMode]
    FORGET_MODE_DELETE: _ClassVar[ForgetMode]
    FORGET_MODE_OVERWRITE: _ClassVar[ForgetMode]

class AckMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_MODE_EACH: _ClassVar[AckMode]
    ACK_MODE_CUMULATIVE: _ClassVar[AckMode]

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]
STREAM_EVENT_TYPE_UNSPECIFIED: StreamEventType
STREAM_EVENT_TYPE_ACTIVATION: StreamEventType
STREAM_EVENT_TYPE_STORAGE: StreamEventType
STREAM_EVENT_TYPE_RECALL: StreamEventType
STREAM_EVENT_TYPE_CONSOLIDATION: StreamEventType
STREAM_EVENT_TYPE_ASSOCIATION: StreamEventType
STREAM_EVENT_TYPE_DECAY: StreamEventType
FORGET_MODE_UNSPECIFIED: ForgetMode
FORGET_MODE_SUPPRESS: ForgetMode
FORGET_MODE_DELETE: ForgetMode
FORGET_MODE_OVERWRITE: ForgetMode
ACK_MODE_EACH: AckMode
ACK_MODE_CUMULATIVE: AckMode
PRIORITY_NORMAL: Priority
PRIORITY_HIGH: Priority
PRIORITY_LOW: Priority

class RecallMetadata(_message.Message):
    __slots__ = ("total_activated", "above_threshold", "avg_activation", "recall_time_ms", "activation_path")
    TOTAL_ACTIVATED_FIELD_NUMBER: _ClassVar[int]
    ABOVE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    AVG_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    RECALL_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_PATH_FIELD_NUMBER: _ClassVar[int]
    total_activated: int
    above_threshold: int
    avg_activation: float
    recall_time_ms: int
    activation_path: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, total_activated: _Optional[int] = ..., above_threshold: _Optional[int] = ..., avg_activation: _Optional[float] = ..., recall_time_ms: _Optional[int] = ..., activation_path: _Optional[_Iterable[str]] = ...) -> None: ...

class RememberRequest(_message.Message):
    __slots__ = ("memory_space_id", "memory", "episode", "auto_link", "link_threshold")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    AUTO_LINK_FIELD_NUMBER: _ClassVar[int]
    LINK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    memory: _memory_pb2.Memory
    episode: _memory_pb2.Episode
    auto_link: bool
    link_threshold: float
    def __init__(self, memory_space_id: _Optional[str] = ..., memory: _Optional[_Union[_memory_pb2.Memory, _Mapping]] = ..., episode: _Optional[_Union[_memory_pb2.Episode, _Mapping]] = ..., auto_link: bool = ..., link_threshold: _Optional[float] = ...) -> None: ...

class RememberResponse(_message.Message):
    __slots__ = ("memory_id", "storage_confidence", "linked_memories", "initial_state")
    MEMORY_ID_FIELD_NUMBER: _ClassVar[int]
    STORAGE_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    LINKED_MEMORIES_FIELD_NUMBER: _ClassVar[int]
    INITIAL_STATE_FIELD_NUMBER: _ClassVar[int]
    memory_id: str
    storage_confidence: _memory_pb2.Confidence
    linked_memories: _containers.RepeatedScalarFieldContainer[str]
    initial_state: _memory_pb2.ConsolidationState
    def __init__(self, memory_id: _Optional[str] = ..., storage_confidence: _Optional[_Union[_memory_pb2.Confidence, _Mapping]] = ..., linked_memories: _Optional[_Iterable[str]] = ..., initial_state: _Optional[_Union[_memory_pb2.ConsolidationState, str]] = ...) -> None: ...

class RecallRequest(_message.Message):
    __slots__ = ("memory_space_id", "cue", "max_results", "include_metadata", "trace_activation")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    CUE_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULTS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_METADATA_FIELD_NUMBER: _ClassVar[int]
    TRACE_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    cue: _memory_pb2.Cue
    max_results: int
    include_metadata: bool
    trace_activation: bool
    def __init__(self, memory_space_id: _Optional[str] = ..., cue: _Optional[_Union[_memory_pb2.Cue, _Mapping]] = ..., max_results: _Optional[int] = ..., include_metadata: bool = ..., trace_activation: bool = ...) -> None: ...

class RecallResponse(_message.Message):
    __slots__ = ("memories", "recall_confidence", "metadata", "traces")
    MEMORIES_FIELD_NUMBER: _ClassVar[int]
    RECALL_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    TRACES_FIELD_NUMBER: _ClassVar[int]
    memories: _containers.RepeatedCompositeFieldContainer[_memory_pb2.Memory]
    recall_confidence: _memory_pb2.Confidence
    metadata: RecallMetadata
    traces: _containers.RepeatedCompositeFieldContainer[ActivationTrace]
    def __init__(self, memories: _Optional[_Iterable[_Union[_memory_pb2.Memory, _Mapping]]] = ..., recall_confidence: _Optional[_Union[_memory_pb2.Confidence, _Mapping]] = ..., metadata: _Optional[_Union[RecallMetadata, _Mapping]] = ..., traces: _Optional[_Iterable[_Union[ActivationTrace, _Mapping]]] = ...) -> None: ...

class ActivationTrace(_message.Message):
    __slots__ = ("memory_id", "activation_level", "activation_path", "timestamp")
    MEMORY_ID_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_LEVEL_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_PATH_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    memory_id: str
    activation_level: float
    activation_path: _containers.RepeatedScalarFieldContainer[str]
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, memory_id: _Optional[str] = ..., activation_level: _Optional[float] = ..., activation_path: _Optional[_Iterable[str]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class IntrospectRequest(_message.Message):
    __slots__ = ("memory_space_id", "metrics", "include_health", "include_statistics")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_HEALTH_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_STATISTICS_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    metrics: _containers.RepeatedScalarFieldContainer[str]
    include_health: bool
    include_statistics: bool
    def __init__(self, memory_space_id: _Optional[str] = ..., metrics: _Optional[_Iterable[str]] = ..., include_health: bool = ..., include_statistics: bool = ...) -> None: ...

class IntrospectResponse(_message.Message):
    __slots__ = ("metrics", "health", "statistics", "active_processes", "metrics_snapshot_json")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    METRICS_FIELD_NUMBER: _ClassVar[int]
    HEALTH_FIELD_NUMBER: _ClassVar[int]
    STATISTICS_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_PROCESSES_FIELD_NUMBER: _ClassVar[int]
    METRICS_SNAPSHOT_JSON_FIELD_NUMBER: _ClassVar[int]
    metrics: _containers.ScalarMap[str, float]
    health: HealthStatus
    statistics: MemoryStatistics
    active_processes: _containers.RepeatedScalarFieldContainer[str]
    metrics_snapshot_json: str
    def __init__(self, metrics: _Optional[_Mapping[str, float]] = ..., health: _Optional[_Union[HealthStatus, _Mapping]] = ..., statistics: _Optional[_Union[MemoryStatistics, _Mapping]] = ..., active_processes: _Optional[_Iterable[str]] = ..., metrics_snapshot_json: _Optional[str] = ...) -> None: ...

class RebalanceRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RebalanceResponse(_message.Message):
    __slots__ = ("planned",)
    PLANNED_FIELD_NUMBER: _ClassVar[int]
    planned: int
    def __init__(self, planned: _Optional[int] = ...) -> None: ...

class MigrateSpaceRpcRequest(_message.Message):
    __slots__ = ("space_id",)
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    space_id: str
    def __init__(self, space_id: _Optional[str] = ...) -> None: ...

class MigrationPlanView(_message.Message):
    __slots__ = ("space_id", "to", "version", "reason", "planned_at")
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PLANNED_AT_FIELD_NUMBER: _ClassVar[int]
    space_id: str
    to: str
    version: int
    reason: str
    planned_at: _timestamp_pb2.Timestamp
    def __init__(self, space_id: _Optional[str] = ..., to: _Optional[str] = ..., version: _Optional[int] = ..., reason: _Optional[str] = ..., planned_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., **kwargs) -> None: ...

class MigrateSpaceRpcResponse(_message.Message):
    __slots__ = ("plan",)
    PLAN_FIELD_NUMBER: _ClassVar[int]
    plan: MigrationPlanView
    def __init__(self, plan: _Optional[_Union[MigrationPlanView, _Mapping]] = ...) -> None: ...

class ReplicationEntryView(_message.Message):
    __slots__ = ("sequence", "entry_type", "payload")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ENTRY_TYPE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    entry_type: int
    payload: bytes
    def __init__(self, sequence: _Optional[int] = ..., entry_type: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class ApplyReplicationBatchRequest(_message.Message):
    __slots__ = ("space_id", "primary_id", "start_sequence", "end_sequence", "checksum", "entries")
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_ID_FIELD_NUMBER: _ClassVar[int]
    START_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    END_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    space_id: str
    primary_id: str
    start_sequence: int
    end_sequence: int
    checksum: int
    entries: _containers.RepeatedCompositeFieldContainer[ReplicationEntryView]
    def __init__(self, space_id: _Optional[str] = ..., primary_id: _Optional[str] = ..., start_sequence: _Optional[int] = ..., end_sequence: _Optional[int] = ..., checksum: _Optional[int] = ..., entries: _Optional[_Iterable[_Union[ReplicationEntryView, _Mapping]]] = ...) -> None: ...

class ApplyReplicationBatchResponse(_message.Message):
    __slots__ = ("applied_through",)
    APPLIED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    applied_through: int
    def __init__(self, applied_through: _Optional[int] = ...) -> None: ...

class ReplicationStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReplicaLagView(_message.Message):
    __slots__ = ("space_id", "replica", "local_sequence", "replicated_sequence")
    SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    LOCAL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPLICATED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    space_id: str
    replica: str
    local_sequence: int
    replicated_sequence: int
    def __init__(self, space_id: _Optional[str] = ..., replica: _Optional[str] = ..., local_sequence: _Optional[int] = ..., replicated_sequence: _Optional[int] = ...) -> None: ...

class ReplicationStatusResponse(_message.Message):
    __slots__ = ("replicas",)
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    replicas: _containers.RepeatedCompositeFieldContainer[ReplicaLagView]
    def __init__(self, replicas: _Optional[_Iterable[_Union[ReplicaLagView, _Mapping]]] = ...) -> None: ...

class HealthStatus(_message.Message):
    __slots__ = ("healthy", "components", "summary")
    class ComponentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ComponentHealth
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ComponentHealth, _Mapping]] = ...) -> None: ...
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    healthy: bool
    components: _containers.MessageMap[str, ComponentHealth]
    summary: str
    def __init__(self, healthy: bool = ..., components: _Optional[_Mapping[str, ComponentHealth]] = ..., summary: _Optional[str] = ...) -> None: ...

class ComponentHealth(_message.Message):
    __slots__ = ("operational", "performance", "status_message")
    OPERATIONAL_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    STATUS_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    operational: bool
    performance: float
    status_message: str
    def __init__(self, operational: bool = ..., performance: _Optional[float] = ..., status_message: _Optional[str] = ...) -> None: ...

class MemoryStatistics(_message.Message):
    __slots__ = ("total_memories", "by_type", "avg_activation", "avg_confidence", "total_associations", "oldest_memory", "newest_memory")
    class ByTypeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TOTAL_MEMORIES_FIELD_NUMBER: _ClassVar[int]
    BY_TYPE_FIELD_NUMBER: _ClassVar[int]
    AVG_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    AVG_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ASSOCIATIONS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_MEMORY_FIELD_NUMBER: _ClassVar[int]
    NEWEST_MEMORY_FIELD_NUMBER: _ClassVar[int]
    total_memories: int
    by_type: _containers.ScalarMap[str, int]
    avg_activation: float
    avg_confidence: float
    total_associations: int
    oldest_memory: _timestamp_pb2.Timestamp
    newest_memory: _timestamp_pb2.Timestamp
    def __init__(self, total_memories: _Optional[int] = ..., by_type: _Optional[_Mapping[str, int]] = ..., avg_activation: _Optional[float] = ..., avg_confidence: _Optional[float] = ..., total_associations: _Optional[int] = ..., oldest_memory: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., newest_memory: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("memory_space_id", "event_types", "min_importance")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    MIN_IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    event_types: _containers.RepeatedScalarFieldContainer[StreamEventType]
    min_importance: float
    def __init__(self, memory_space_id: _Optional[str] = ..., event_types: _Optional[_Iterable[_Union[StreamEventType, str]]] = ..., min_importance: _Optional[float] = ...) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("event_type", "timestamp", "description", "metadata", "importance")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    event_type: StreamEventType
    timestamp: _timestamp_pb2.Timestamp
    description: str
    metadata: _containers.ScalarMap[str, str]
    importance: float
    def __init__(self, event_type: _Optional[_Union[StreamEventType, str]] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., description: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ..., importance: _Optional[float] = ...) -> None: ...

class MemoryFlowRequest(_message.Message):
    __slots__ = ("memory_space_id", "remember", "recall", "subscribe", "control", "session_id", "sequence_number")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    REMEMBER_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    remember: RememberRequest
    recall: RecallRequest
    subscribe: StreamSubscription
    control: FlowControl
    session_id: str
    sequence_number: int
    def __init__(self, memory_space_id: _Optional[str] = ..., remember: _Optional[_Union[RememberRequest, _Mapping]] = ..., recall: _Optional[_Union[RecallRequest, _Mapping]] = ..., subscribe: _Optional[_Union[StreamSubscription, _Mapping]] = ..., control: _Optional[_Union[FlowControl, _Mapping]] = ..., session_id: _Optional[str] = ..., sequence_number: _Optional[int] = ...) -> None: ...

class MemoryFlowResponse(_message.Message):
    __slots__ = ("remember_result", "recall_result", "event", "status", "session_id", "sequence_number", "timestamp")
    REMEMBER_RESULT_FIELD_NUMBER: _ClassVar[int]
    RECALL_RESULT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    remember_result: RememberResponse
    recall_result: RecallResponse
    event: StreamResponse
    status: FlowStatus
    session_id: str
    sequence_number: int
    timestamp: _timestamp_pb2.Timestamp
    def __init__(self, remember_result: _Optional[_Union[RememberResponse, _Mapping]] = ..., recall_result: _Optional[_Union[RecallResponse, _Mapping]] = ..., event: _Optional[_Union[StreamResponse, _Mapping]] = ..., status: _Optional[_Union[FlowStatus, _Mapping]] = ..., session_id: _Optional[str] = ..., sequence_number: _Optional[int] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StreamSubscription(_message.Message):
    __slots__ = ("event_types", "min_importance", "buffer_size", "enable_backpressure")
    EVENT_TYPES_FIELD_NUMBER: _ClassVar[int]
    MIN_IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    ENABLE_BACKPRESSURE_FIELD_NUMBER: _ClassVar[int]
    event_types: _containers.RepeatedScalarFieldContainer[StreamEventType]
    min_importance: float
    buffer_size: int
    enable_backpressure: bool
    def __init__(self, event_types: _Optional[_Iterable[_Union[StreamEventType, str]]] = ..., min_importance: _Optional[float] = ..., buffer_size: _Optional[int] = ..., enable_backpressure: bool = ...) -> None: ...

class FlowControl(_message.Message):
    __slots__ = ("action", "buffer_remaining", "preferred_rate", "reason")
    class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACTION_UNSPECIFIED: _ClassVar[FlowControl.Action]
        ACTION_PAUSE: _ClassVar[FlowControl.Action]
        ACTION_RESUME: _ClassVar[FlowControl.Action]
        ACTION_SLOW_DOWN: _ClassVar[FlowControl.Action]
        ACTION_SPEED_UP: _ClassVar[FlowControl.Action]
        ACTION_BUFFER_STATUS: _ClassVar[FlowControl.Action]
    ACTION_UNSPECIFIED: FlowControl.Action
    ACTION_PAUSE: FlowControl.Action
    ACTION_RESUME: FlowControl.Action
    ACTION_SLOW_DOWN: FlowControl.Action
    ACTION_SPEED_UP: FlowControl.Action
    ACTION_BUFFER_STATUS: FlowControl.Action
    ACTION_FIELD_NUMBER: _ClassVar[int]
    BUFFER_REMAINING_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_RATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    action: FlowControl.Action
    buffer_remaining: int
    preferred_rate: float
    reason: str
    def __init__(self, action: _Optional[_Union[FlowControl.Action, str]] = ..., buffer_remaining: _Optional[int] = ..., preferred_rate: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class FlowStatus(_message.Message):
    __slots__ = ("state", "message", "metrics", "last_activity")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[FlowStatus.State]
        STATE_ACTIVE: _ClassVar[FlowStatus.State]
        STATE_PAUSED: _ClassVar[FlowStatus.State]
        STATE_BUFFERING: _ClassVar[FlowStatus.State]
        STATE_RECONNECTING: _ClassVar[FlowStatus.State]
        STATE_ERROR: _ClassVar[FlowStatus.State]
    STATE_UNSPECIFIED: FlowStatus.State
    STATE_ACTIVE: FlowStatus.State
    STATE_PAUSED: FlowStatus.State
    STATE_BUFFERING: FlowStatus.State
    STATE_RECONNECTING: FlowStatus.State
    STATE_ERROR: FlowStatus.State
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVITY_FIELD_NUMBER: _ClassVar[int]
    state: FlowStatus.State
    message: str
    metrics: _containers.ScalarMap[str, str]
    last_activity: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[FlowStatus.State, str]] = ..., message: _Optional[str] = ..., metrics: _Optional[_Mapping[str, str]] = ..., last_activity: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ObservationRequest(_message.Message):
    __slots__ = ("memory_space_id", "init", "observation", "flow", "close", "batch", "recall", "subscribe", "session_id", "sequence_number")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    INIT_FIELD_NUMBER: _ClassVar[int]
    OBSERVATION_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBE_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    init: StreamInit
    observation: _memory_pb2.Episode
    flow: FlowControl
    close: StreamClose
    batch: ObservationBatch
    recall: StreamingRecallRequest
    subscribe: StreamSubscription
    session_id: str
    sequence_number: int
    def __init__(self, memory_space_id: _Optional[str] = ..., init: _Optional[_Union[StreamInit, _Mapping]] = ..., observation: _Optional[_Union[_memory_pb2.Episode, _Mapping]] = ..., flow: _Optional[_Union[FlowControl, _Mapping]] = ..., close: _Optional[_Union[StreamClose, _Mapping]] = ..., batch: _Optional[_Union[ObservationBatch, _Mapping]] = ..., recall: _Optional[_Union[StreamingRecallRequest, _Mapping]] = ..., subscribe: _Optional[_Union[StreamSubscription, _Mapping]] = ..., session_id: _Optional[str] = ..., sequence_number: _Optional[int] = ...) -> None: ...

class ObservationResponse(_message.Message):
    __slots__ = ("init_ack", "ack", "status", "recall_result", "event", "session_id", "sequence_number", "server_timestamp")
    INIT_ACK_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    RECALL_RESULT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SERVER_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    init_ack: StreamInitAck
    ack: ObservationAck
    status: StreamStatus
    recall_result: StreamingRecallResponse
    event: StreamResponse
    session_id: str
    sequence_number: int
    server_timestamp: _timestamp_pb2.Timestamp
    def __init__(self, init_ack: _Optional[_Union[StreamInitAck, _Mapping]] = ..., ack: _Optional[_Union[ObservationAck, _Mapping]] = ..., status: _Optional[_Union[StreamStatus, _Mapping]] = ..., recall_result: _Optional[_Union[StreamingRecallResponse, _Mapping]] = ..., event: _Optional[_Union[StreamResponse, _Mapping]] = ..., session_id: _Optional[str] = ..., sequence_number: _Optional[int] = ..., server_timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class StreamInit(_message.Message):
    __slots__ = ("client_buffer_size", "enable_backpressure", "max_batch_size", "ack_mode", "indexed_acks", "priority")
    CLIENT_BUFFER_SIZE_FIELD_NUMBER: _ClassVar[int]
    ENABLE_BACKPRESSURE_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    ACK_MODE_FIELD_NUMBER: _ClassVar[int]
    INDEXED_ACKS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    client_buffer_size: int
    enable_backpressure: bool
    max_batch_size: int
    ack_mode: AckMode
    indexed_acks: bool
    priority: Priority
    def __init__(self, client_buffer_size: _Optional[int] = ..., enable_backpressure: bool = ..., max_batch_size: _Optional[int] = ..., ack_mode: _Optional[_Union[AckMode, str]] = ..., indexed_acks: bool = ..., priority: _Optional[_Union[Priority, str]] = ...) -> None: ...

class StreamInitAck(_message.Message):
    __slots__ = ("session_id", "initial_sequence", "capabilities")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INITIAL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    initial_sequence: int
    capabilities: StreamCapabilities
    def __init__(self, session_id: _Optional[str] = ..., initial_sequence: _Optional[int] = ..., capabilities: _Optional[_Union[StreamCapabilities, _Mapping]] = ...) -> None: ...

class StreamCapabilities(_message.Message):
    __slots__ = ("max_observations_per_second", "queue_capacity", "supports_backpressure", "supports_snapshot_isolation")
    MAX_OBSERVATIONS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_BACKPRESSURE_FIELD_NUMBER: _ClassVar[int]
    SUPPORTS_SNAPSHOT_ISOLATION_FIELD_NUMBER: _ClassVar[int]
    max_observations_per_second: int
    queue_capacity: int
    supports_backpressure: bool
    supports_snapshot_isolation: bool
    def __init__(self, max_observations_per_second: _Optional[int] = ..., queue_capacity: _Optional[int] = ..., supports_backpressure: bool = ..., supports_snapshot_isolation: bool = ...) -> None: ...

class ObservationAck(_message.Message):
    __slots__ = ("status", "memory_id", "committed_at", "first_sequence")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[ObservationAck.Status]
        STATUS_ACCEPTED: _ClassVar[ObservationAck.Status]
        STATUS_INDEXED: _ClassVar[ObservationAck.Status]
        STATUS_REJECTED: _ClassVar[ObservationAck.Status]
    STATUS_UNSPECIFIED: ObservationAck.Status
    STATUS_ACCEPTED: ObservationAck.Status
    STATUS_INDEXED: ObservationAck.Status
    STATUS_REJECTED: ObservationAck.Status
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_ID_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_AT_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    status: ObservationAck.Status
    memory_id: str
    committed_at: _timestamp_pb2.Timestamp
    first_sequence: int
    def __init__(self, status: _Optional[_Union[ObservationAck.Status, str]] = ..., memory_id: _Optional[str] = ..., committed_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., first_sequence: _Optional[int] = ...) -> None: ...

class StreamStatus(_message.Message):
    __slots__ = ("state", "message", "queue_depth", "queue_capacity", "pressure", "retry_after_ms", "preferred_rate", "request_id")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[StreamStatus.State]
        STATE_ACTIVE: _ClassVar[StreamStatus.State]
        STATE_PAUSED: _ClassVar[StreamStatus.State]
        STATE_BACKPRESSURE: _ClassVar[StreamStatus.State]
        STATE_OVERLOADED: _ClassVar[StreamStatus.State]
        STATE_ERROR: _ClassVar[StreamStatus.State]
        STATE_CLOSED: _ClassVar[StreamStatus.State]
    STATE_UNSPECIFIED: StreamStatus.State
    STATE_ACTIVE: StreamStatus.State
    STATE_PAUSED: StreamStatus.State
    STATE_BACKPRESSURE: StreamStatus.State
    STATE_OVERLOADED: StreamStatus.State
    STATE_ERROR: StreamStatus.State
    STATE_CLOSED: StreamStatus.State
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DEPTH_FIELD_NUMBER: _ClassVar[int]
    QUEUE_CAPACITY_FIELD_NUMBER: _ClassVar[int]
    PRESSURE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    PREFERRED_RATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    state: StreamStatus.State
    message: str
    queue_depth: int
    queue_capacity: int
    pressure: float
    retry_after_ms: int
    preferred_rate: float
    request_id: str
    def __init__(self, state: _Optional[_Union[StreamStatus.State, str]] = ..., message: _Optional[str] = ..., queue_depth: _Optional[int] = ..., queue_capacity: _Optional[int] = ..., pressure: _Optional[float] = ..., retry_after_ms: _Optional[int] = ..., preferred_rate: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class StreamClose(_message.Message):
    __slots__ = ("drain_queue", "last_sequence")
    DRAIN_QUEUE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    drain_queue: bool
    last_sequence: int
    def __init__(self, drain_queue: bool = ..., last_sequence: _Optional[int] = ...) -> None: ...

class StreamingRecallRequest(_message.Message):
    __slots__ = ("memory_space_id", "session_id", "cue", "max_results", "snapshot_isolation", "snapshot_time", "page_size", "search_width", "include_embeddings", "filter", "request_id")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    CUE_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULTS_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_ISOLATION_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    SEARCH_WIDTH_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    session_id: str
    cue: _memory_pb2.Cue
    max_results: int
    snapshot_isolation: bool
    snapshot_time: _timestamp_pb2.Timestamp
    page_size: int
    search_width: int
    include_embeddings: bool
    filter: RecallFilter
    request_id: str
    def __init__(self, memory_space_id: _Optional[str] = ..., session_id: _Optional[str] = ..., cue: _Optional[_Union[_memory_pb2.Cue, _Mapping]] = ..., max_results: _Optional[int] = ..., snapshot_isolation: bool = ..., snapshot_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., search_width: _Optional[int] = ..., include_embeddings: bool = ..., filter: _Optional[_Union[RecallFilter, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class StreamingRecallResponse(_message.Message):
    __slots__ = ("results", "more_results", "metadata", "snapshot_sequence", "request_id")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    MORE_RESULTS_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[_memory_pb2.Memory]
    more_results: bool
    metadata: RecallMetadata
    snapshot_sequence: int
    request_id: str
    def __init__(self, results: _Optional[_Iterable[_Union[_memory_pb2.Memory, _Mapping]]] = ..., more_results: bool = ..., metadata: _Optional[_Union[RecallMetadata, _Mapping]] = ..., snapshot_sequence: _Optional[int] = ..., request_id: _Optional[str] = ...) -> None: ...

class ForgetRequest(_message.Message):
    __slots__ = ("memory_space_id", "memory_id", "pattern", "mode")
    MEMORY_SPACE_ID_FIELD_NUMBER: _ClassVar[int]
    MEMORY_ID_FIELD_NUMBER: _ClassVar[int]
    PATTERN_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    memory_space_id: str
    memory_id: str
    pattern: _memory_pb2.Cue
    mode: ForgetMode
    def __init__(self, memory_space_id: _Optional[str] = ..., memory_id: _Optional[str] = ..., pattern: _Optional[_Union[_memory_pb2.Cue, _Mapping]] = ..., mode: _Optional[_Union[ForgetMode, str]] = ...) -> None: ...

class ForgetResponse(_message.Message):
    __slots__ = ("memories_affected", "forget_confidence", "reversible")
    MEMORIES_AFFECTED_FIELD_NUMBER: _ClassVar[int]
    FORGET_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    REVERSIBLE_FIELD_NUMBER: _ClassVar[int]
    memories_affected: int
    forget_confidence: _memory_pb2.Confidence
    reversible: bool
    def __init__(self, memories_affected: _Optional[int] = ..., forget_confidence: _Optional[_Union[_memory_pb2.Confidence, _Mapping]] = ..., reversible: bool = ...) -> None: ...

class RecognizeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RecognizeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExperienceRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExperienceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReminisceRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReminisceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConsolidateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ConsolidateResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DreamRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DreamResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompleteRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompleteResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AssociateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AssociateResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ObservationBatch(_message.Message):
    __slots__ = ("observations",)
    OBSERVATIONS_FIELD_NUMBER: _ClassVar[int]
    observations: _containers.RepeatedCompositeFieldContainer[_memory_pb2.Episode]
    def __init__(self, observations: _Optional[_Iterable[_Union[_memory_pb2.Episode, _Mapping]]] = ...) -> None: ...

class RecallFilter(_message.Message):
    __slots__ = ("to", "where_location", "who", "tags")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WHERE_LOCATION_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    to: _timestamp_pb2.Timestamp
    where_location: str
    who: _containers.RepeatedScalarFieldContainer[str]
    tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, to: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., where_location: _Optional[str] = ..., who: _Optional[_Iterable[str]] = ..., tags: _Optional[_Iterable[str]] = ..., **kwargs) -> None: ...
