"""What the service answers instead of a result: one class a status code, with its details."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any as AnyType
from typing import ClassVar, TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from parley.v1.interactions_pb2 import RecordError

_DETAILS_KEY = "grpc-status-details-bin"
_Detail = TypeVar("_Detail", bound=Message)


@dataclass(frozen=True)
class FieldViolation:
    """A field that broke a rule: its path in the request, and given and allowed in words."""

    field: str
    description: str


class ParleyError(Exception):
    """A call, or one record of a batch, that failed. Raised as the subclass of its code.

    ``reason`` is for programs: UPPER_SNAKE, stable, unique within ``domain``, with ``metadata``
    beside it; all empty where no service answered (no connection, a deadline passed on the way).
    ``retry_delay`` is how many seconds the service asks to be left alone before the next try.
    """

    code: ClassVar[grpc.StatusCode]

    def __init__(
        self,
        message: str,
        reason: str = "",
        domain: str = "",
        metadata: Mapping[str, str] = MappingProxyType({}),
        field_violations: tuple[FieldViolation, ...] = (),
        retry_delay: float | None = None,
    ) -> None:
        # Everything goes into `args`, so that the error survives pickling.
        super().__init__(message, reason, domain, dict(metadata), field_violations, retry_delay)
        self.message = message
        self.reason = reason
        self.domain = domain
        self.metadata = dict(metadata)
        self.field_violations = field_violations
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"


class Cancelled(ParleyError):
    """The caller took the call back."""

    code = grpc.StatusCode.CANCELLED


class Unknown(ParleyError):
    """A failure without a known code."""

    code = grpc.StatusCode.UNKNOWN


class InvalidArgument(ParleyError):
    """The request breaks a rule; ``field_violations`` names each field. Trying again is in vain."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class DeadlineExceeded(ParleyError):
    """No answer in time. A recording may have happened all the same: retry with the same id."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class NotFound(ParleyError):
    """There is no such interaction, or it is another tenant's."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ParleyError):
    """The id is taken by an interaction with other content. Nothing was changed."""

    code = grpc.StatusCode.ALREADY_EXISTS


class PermissionDenied(ParleyError):
    """The token lacks the scope that ``message`` names."""

    code = grpc.StatusCode.PERMISSION_DENIED


class ResourceExhausted(ParleyError):
    """The service is overloaded, or a message is too large. Nothing was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class FailedPrecondition(ParleyError):
    """The service is not in a state to do this."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(ParleyError):
    """The call ran into another; trying again may help."""

    code = grpc.StatusCode.ABORTED


class OutOfRange(ParleyError):
    """A value lies beyond what the service can answer for."""

    code = grpc.StatusCode.OUT_OF_RANGE


class Unimplemented(ParleyError):
    """The service does not know the method."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Internal(ParleyError):
    """The service failed; its log says why."""

    code = grpc.StatusCode.INTERNAL


class Unavailable(ParleyError):
    """The service, or its database, is away. Had been retried; may be retried with the same id."""

    code = grpc.StatusCode.UNAVAILABLE


class DataLoss(ParleyError):
    """The service lost or damaged data."""

    code = grpc.StatusCode.DATA_LOSS


class Unauthenticated(ParleyError):
    """The token is missing, expired or not the service's."""

    code = grpc.StatusCode.UNAUTHENTICATED


_CLASSES: dict[int, type[ParleyError]] = {
    error.code.value[0]: error for error in ParleyError.__subclasses__()
}


def error_from_call(call: AnyType) -> ParleyError:
    """From what ``grpc`` and ``grpc.aio`` raise: an ``RpcError`` that is its own ended call."""
    status = Status(code=call.code().value[0], message=call.details() or "")
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            # The details never hide the error: what cannot be read is left out.
            with suppress(DecodeError):
                status.details.extend(Status.FromString(value).details)
    return error_from_status(status)


def error_from_record(error: RecordError) -> ParleyError:
    """From the error of one record of a batch."""
    return error_from_status(Status(code=error.code, message=error.message, details=error.details))


def error_from_status(status: Status) -> ParleyError:
    info, bad_request, retry = ErrorInfo(), BadRequest(), None
    for detail in status.details:
        info = _unpacked(detail, ErrorInfo) or info
        bad_request = _unpacked(detail, BadRequest) or bad_request
        retry = _unpacked(detail, RetryInfo) or retry
    return _CLASSES.get(status.code, Unknown)(
        status.message,
        info.reason,
        info.domain,
        info.metadata,
        tuple(FieldViolation(v.field, v.description) for v in bad_request.field_violations),
        retry.retry_delay.ToNanoseconds() / 1e9 if retry else None,
    )


def _unpacked(detail: Any, kind: type[_Detail]) -> _Detail | None:
    if detail.TypeName() == kind.DESCRIPTOR.full_name:
        with suppress(DecodeError):
            return kind.FromString(detail.value)
    return None
