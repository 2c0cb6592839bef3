"""Records what AI agents say with Parley, and reads it back.

`ParleyClient` and `AsyncParleyClient` call the service; `BackgroundRecorder` records from an agent
runtime without ever making it wait. Messages are those of ``parley.v1``, generated from the schema.
"""

from parley.v1.interactions_pb2 import (
    GetStatsResponse,
    Intent,
    Interaction,
    InteractionFilter,
    ListInteractionsResponse,
    Stats,
    StatsGroup,
    StatsPoint,
    TokenUsage,
)

from ._calls import Recorded
from ._channels import TLS
from ._ids import uuid7
from ._tally import RecorderStats
from ._tokens import AsyncTokenSource, TokenSource
from .aio import AsyncParleyClient
from .client import ParleyClient
from .errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ParleyError,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
)
from .recorder import BackgroundRecorder

__all__ = [
    "TLS",
    "Aborted",
    "AlreadyExists",
    "AsyncParleyClient",
    "AsyncTokenSource",
    "BackgroundRecorder",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "GetStatsResponse",
    "Intent",
    "Interaction",
    "InteractionFilter",
    "Internal",
    "InvalidArgument",
    "ListInteractionsResponse",
    "NotFound",
    "OutOfRange",
    "ParleyClient",
    "ParleyError",
    "PermissionDenied",
    "Recorded",
    "RecorderStats",
    "ResourceExhausted",
    "Stats",
    "StatsGroup",
    "StatsPoint",
    "TokenSource",
    "TokenUsage",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "uuid7",
]
