"""What both faces say to grpcio."""

from __future__ import annotations

from typing import Any, Callable, Sequence

from engram_client._proto import service_pb2 as wire

_SERVICE = "/engram.v1.EngramService/"
OBSERVE_STREAM = _SERVICE + "ObserveStream"
MEMORY_STREAM = _SERVICE + "MemoryStream"
RECALL_STREAM = _SERVICE + "RecallStream"
MEMORY_FLOW = _SERVICE + "MemoryFlow"
REMEMBER = _SERVICE + "Remember"

#: Address of a server started without settings.
TARGET_DEFAULT = "127.0.0.1:50051"

ChannelOptions = Sequence[tuple[str, Any]]

_CHANNEL_OPTIONS: ChannelOptions = (
    # A page of long texts may be longer than grpcio's own 4 MiB; the server bounds it.
    ("grpc.max_receive_message_length", -1),
    # A peer that vanished without a word is noticed within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    # How often to try again is the session's to say; the channel must not be slower than that.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Channels to one address share no connection, so that one client's trouble is not another's.
    ("grpc.use_local_subchannel_pool", 1),
)


def channel_options(own: ChannelOptions) -> ChannelOptions:
    """The caller's own go before ours."""
    named = {name for name, _ in own}
    return [*own, *((name, value) for name, value in _CHANNEL_OPTIONS if name not in named)]


def session_method(channel: Any, recalls: bool) -> Callable[..., Any]:
    """The stream of a session; its messages are encoded already."""
    return channel.stream_stream(  # type: ignore[no-any-return]
        MEMORY_STREAM if recalls else OBSERVE_STREAM,
        request_serializer=None,
        response_deserializer=wire.ObservationResponse.FromString,
    )


def recall_method(channel: Any) -> Callable[..., Any]:
    """Pages of one recall."""
    return channel.unary_stream(  # type: ignore[no-any-return]
        RECALL_STREAM,
        request_serializer=wire.StreamingRecallRequest.SerializeToString,
        response_deserializer=wire.StreamingRecallResponse.FromString,
    )


def flow_method(channel: Any) -> Callable[..., Any]:
    """The stream of a subscription; its one message is encoded already."""
    return channel.stream_stream(  # type: ignore[no-any-return]
        MEMORY_FLOW,
        request_serializer=None,
        response_deserializer=wire.MemoryFlowResponse.FromString,
    )


def remember_method(channel: Any) -> Callable[..., Any]:
    """One observation without a session."""
    return channel.unary_unary(  # type: ignore[no-any-return]
        REMEMBER,
        request_serializer=wire.RememberRequest.SerializeToString,
        response_deserializer=wire.RememberResponse.FromString,
    )
