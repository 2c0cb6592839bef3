import datetime

from google.protobuf import any_pb2 as _any_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InteractionView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERACTION_VIEW_UNSPECIFIED: _ClassVar[InteractionView]
    INTERACTION_VIEW_BASIC: _ClassVar[InteractionView]
    INTERACTION_VIEW_FULL: _ClassVar[InteractionView]

class StatsInterval(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATS_INTERVAL_UNSPECIFIED: _ClassVar[StatsInterval]
    STATS_INTERVAL_HOUR: _ClassVar[StatsInterval]
    STATS_INTERVAL_DAY: _ClassVar[StatsInterval]
INTERACTION_VIEW_UNSPECIFIED: InteractionView
INTERACTION_VIEW_BASIC: InteractionView
INTERACTION_VIEW_FULL: InteractionView
STATS_INTERVAL_UNSPECIFIED: StatsInterval
STATS_INTERVAL_HOUR: StatsInterval
STATS_INTERVAL_DAY: StatsInterval

class Interaction(_message.Message):
    __slots__ = ("id", "conversation_id", "created_at", "customer_message", "agent_response", "detected_intents", "model_used", "context_size", "processing_time_ms", "confidence_score", "handoff_triggered", "handoff_reason", "message_type", "token_usage", "estimated_cost_nanos", "updated_at")
    ID_FIELD_NUMBER: _ClassVar[int]
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CUSTOMER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AGENT_RESPONSE_FIELD_NUMBER: _ClassVar[int]
    DETECTED_INTENTS_FIELD_NUMBER: _ClassVar[int]
    MODEL_USED_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_SCORE_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_TRIGGERED_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_USAGE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    id: str
    conversation_id: str
    created_at: _timestamp_pb2.Timestamp
    customer_message: str
    agent_response: str
    detected_intents: _containers.RepeatedCompositeFieldContainer[Intent]
    model_used: str
    context_size: int
    processing_time_ms: int
    confidence_score: float
    handoff_triggered: bool
    handoff_reason: str
    message_type: str
    token_usage: TokenUsage
    estimated_cost_nanos: int
    updated_at: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., conversation_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., customer_message: _Optional[str] = ..., agent_response: _Optional[str] = ..., detected_intents: _Optional[_Iterable[_Union[Intent, _Mapping]]] = ..., model_used: _Optional[str] = ..., context_size: _Optional[int] = ..., processing_time_ms: _Optional[int] = ..., confidence_score: _Optional[float] = ..., handoff_triggered: bool = ..., handoff_reason: _Optional[str] = ..., message_type: _Optional[str] = ..., token_usage: _Optional[_Union[TokenUsage, _Mapping]] = ..., estimated_cost_nanos: _Optional[int] = ..., updated_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Intent(_message.Message):
    __slots__ = ("name", "confidence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    confidence: float
    def __init__(self, name: _Optional[str] = ..., confidence: _Optional[float] = ...) -> None: ...

class TokenUsage(_message.Message):
    __slots__ = ("prompt_tokens", "completion_tokens", "total_tokens")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ...) -> None: ...

class RecordInteractionRequest(_message.Message):
    __slots__ = ("interaction", "request_id")
    INTERACTION_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    interaction: Interaction
    request_id: str
    def __init__(self, interaction: _Optional[_Union[Interaction, _Mapping]] = ..., request_id: _Optional[str] = ...) -> None: ...

class RecordInteractionResponse(_message.Message):
    __slots__ = ("interaction_id", "created_at", "already_recorded")
    INTERACTION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_RECORDED_FIELD_NUMBER: _ClassVar[int]
    interaction_id: str
    created_at: _timestamp_pb2.Timestamp
    already_recorded: bool
    def __init__(self, interaction_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., already_recorded: bool = ...) -> None: ...

class RecordInteractionsRequest(_message.Message):
    __slots__ = ("interactions",)
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[Interaction]
    def __init__(self, interactions: _Optional[_Iterable[_Union[Interaction, _Mapping]]] = ...) -> None: ...

class RecordInteractionsResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[RecordResult]
    def __init__(self, results: _Optional[_Iterable[_Union[RecordResult, _Mapping]]] = ...) -> None: ...

class RecordResult(_message.Message):
    __slots__ = ("interaction_id", "created_at", "already_recorded", "error")
    INTERACTION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    ALREADY_RECORDED_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    interaction_id: str
    created_at: _timestamp_pb2.Timestamp
    already_recorded: bool
    error: RecordError
    def __init__(self, interaction_id: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., already_recorded: bool = ..., error: _Optional[_Union[RecordError, _Mapping]] = ...) -> None: ...

class RecordError(_message.Message):
    __slots__ = ("code", "message", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    details: _containers.RepeatedCompositeFieldContainer[_any_pb2.Any]
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., details: _Optional[_Iterable[_Union[_any_pb2.Any, _Mapping]]] = ...) -> None: ...

class InteractionFilter(_message.Message):
    __slots__ = ("conversation_id", "model_used", "message_type", "handoff_triggered", "handoff_reason", "min_confidence", "max_confidence", "intent", "start_time", "end_time")
    CONVERSATION_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_USED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_TRIGGERED_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_REASON_FIELD_NUMBER: _ClassVar[int]
    MIN_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    conversation_id: str
    model_used: str
    message_type: str
    handoff_triggered: bool
    handoff_reason: str
    min_confidence: float
    max_confidence: float
    intent: str
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, conversation_id: _Optional[str] = ..., model_used: _Optional[str] = ..., message_type: _Optional[str] = ..., handoff_triggered: bool = ..., handoff_reason: _Optional[str] = ..., min_confidence: _Optional[float] = ..., max_confidence: _Optional[float] = ..., intent: _Optional[str] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListInteractionsRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token", "view")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    filter: InteractionFilter
    page_size: int
    page_token: str
    view: InteractionView
    def __init__(self, filter: _Optional[_Union[InteractionFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[InteractionView, str]] = ...) -> None: ...

class ListInteractionsResponse(_message.Message):
    __slots__ = ("interactions", "next_page_token")
    INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    interactions: _containers.RepeatedCompositeFieldContainer[Interaction]
    next_page_token: str
    def __init__(self, interactions: _Optional[_Iterable[_Union[Interaction, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetInteractionRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetInteractionResponse(_message.Message):
    __slots__ = ("interaction",)
    INTERACTION_FIELD_NUMBER: _ClassVar[int]
    interaction: Interaction
    def __init__(self, interaction: _Optional[_Union[Interaction, _Mapping]] = ...) -> None: ...

class GetStatsRequest(_message.Message):
    __slots__ = ("filter", "interval")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    filter: InteractionFilter
    interval: StatsInterval
    def __init__(self, filter: _Optional[_Union[InteractionFilter, _Mapping]] = ..., interval: _Optional[_Union[StatsInterval, str]] = ...) -> None: ...

class GetStatsResponse(_message.Message):
    __slots__ = ("totals", "by_model", "by_message_type", "by_handoff_reason", "series", "start_time", "end_time")
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    BY_MODEL_FIELD_NUMBER: _ClassVar[int]
    BY_MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    BY_HANDOFF_REASON_FIELD_NUMBER: _ClassVar[int]
    SERIES_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    totals: Stats
    by_model: _containers.RepeatedCompositeFieldContainer[StatsGroup]
    by_message_type: _containers.RepeatedCompositeFieldContainer[StatsGroup]
    by_handoff_reason: _containers.RepeatedCompositeFieldContainer[StatsGroup]
    series: _containers.RepeatedCompositeFieldContainer[StatsPoint]
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, totals: _Optional[_Union[Stats, _Mapping]] = ..., by_model: _Optional[_Iterable[_Union[StatsGroup, _Mapping]]] = ..., by_message_type: _Optional[_Iterable[_Union[StatsGroup, _Mapping]]] = ..., by_handoff_reason: _Optional[_Iterable[_Union[StatsGroup, _Mapping]]] = ..., series: _Optional[_Iterable[_Union[StatsPoint, _Mapping]]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Stats(_message.Message):
    __slots__ = ("total_interactions", "total_cost_nanos", "avg_confidence", "handoff_count", "handoff_rate", "avg_processing_time_ms", "p50_processing_time_ms", "p95_processing_time_ms", "p99_processing_time_ms", "prompt_tokens", "completion_tokens", "total_tokens", "avg_tokens", "high_confidence_count", "low_confidence_count", "confidence_histogram")
    TOTAL_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COST_NANOS_FIELD_NUMBER: _ClassVar[int]
    AVG_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_COUNT_FIELD_NUMBER: _ClassVar[int]
    HANDOFF_RATE_FIELD_NUMBER: _ClassVar[int]
    AVG_PROCESSING_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    P50_PROCESSING_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    P95_PROCESSING_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    P99_PROCESSING_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_TOKENS_FIELD_NUMBER: _ClassVar[int]
    AVG_TOKENS_FIELD_NUMBER: _ClassVar[int]
    HIGH_CONFIDENCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOW_CONFIDENCE_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    total_interactions: int
    total_cost_nanos: int
    avg_confidence: float
    handoff_count: int
    handoff_rate: float
    avg_processing_time_ms: float
    p50_processing_time_ms: float
    p95_processing_time_ms: float
    p99_processing_time_ms: float
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    avg_tokens: float
    high_confidence_count: int
    low_confidence_count: int
    confidence_histogram: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, total_interactions: _Optional[int] = ..., total_cost_nanos: _Optional[int] = ..., avg_confidence: _Optional[float] = ..., handoff_count: _Optional[int] = ..., handoff_rate: _Optional[float] = ..., avg_processing_time_ms: _Optional[float] = ..., p50_processing_time_ms: _Optional[float] = ..., p95_processing_time_ms: _Optional[float] = ..., p99_processing_time_ms: _Optional[float] = ..., prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., total_tokens: _Optional[int] = ..., avg_tokens: _Optional[float] = ..., high_confidence_count: _Optional[int] = ..., low_confidence_count: _Optional[int] = ..., confidence_histogram: _Optional[_Iterable[int]] = ...) -> None: ...

class StatsGroup(_message.Message):
    __slots__ = ("key", "stats", "is_remainder")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    IS_REMAINDER_FIELD_NUMBER: _ClassVar[int]
    key: str
    stats: Stats
    is_remainder: bool
    def __init__(self, key: _Optional[str] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ..., is_remainder: bool = ...) -> None: ...

class StatsPoint(_message.Message):
    __slots__ = ("start_time", "stats")
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STATS_FIELD_NUMBER: _ClassVar[int]
    start_time: _timestamp_pb2.Timestamp
    stats: Stats
    def __init__(self, start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., stats: _Optional[_Union[Stats, _Mapping]] = ...) -> None: ...
