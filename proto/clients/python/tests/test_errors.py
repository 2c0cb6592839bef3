"""How what gRPC says becomes a typed error."""

from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from parley.v1.interactions_pb2 import RecordError
from parley_client import FieldViolation, InvalidArgument, ParleyError, Unavailable, Unknown
from parley_client.errors import error_from_call, error_from_record


class EndedCall:
    """What ``grpc`` raises, as far as it is read."""

    def __init__(self, code: grpc.StatusCode, message: str | None, details: bytes | None) -> None:
        self._answer = (code, message, details)

    def code(self) -> grpc.StatusCode:
        return self._answer[0]

    def details(self) -> str | None:
        return self._answer[1]

    def trailing_metadata(self) -> Any:
        details = self._answer[2]
        return None if details is None else (("grpc-status-details-bin", details),)


def packed(*messages: Any) -> list[AnyMessage]:
    details = []
    for message in messages:
        detail = AnyMessage()
        detail.Pack(message)
        details.append(detail)
    return details


DETAILS = packed(
    ErrorInfo(reason="FIELD_INVALID", domain="parley", metadata={"scope": "a"}),
    BadRequest(field_violations=[BadRequest.FieldViolation(field="id", description="is bad")]),
    RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
    Duration(seconds=1),
)


def check(error: ParleyError) -> None:
    assert type(error) is InvalidArgument
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.message == "id: is bad"
    assert (error.reason, error.domain, error.metadata) == (
        "FIELD_INVALID",
        "parley",
        {"scope": "a"},
    )
    assert error.field_violations == (FieldViolation("id", "is bad"),)
    assert error.retry_delay == 1.5
    assert str(error) == "FIELD_INVALID: id: is bad"


def test_details_of_a_call() -> None:
    status = Status(code=3, message="id: is bad", details=DETAILS)
    call = EndedCall(grpc.StatusCode.INVALID_ARGUMENT, "id: is bad", status.SerializeToString())
    check(error_from_call(call))


def test_details_of_a_record() -> None:
    check(error_from_record(RecordError(code=3, message="id: is bad", details=DETAILS)))


def test_survives_pickling() -> None:
    error = error_from_record(RecordError(code=3, message="id: is bad", details=DETAILS))
    check(pickle.loads(pickle.dumps(error)))


@pytest.mark.parametrize("details", [None, b"", b"\xff\xff", Status(code=5).SerializeToString()])
def test_details_never_hide_the_error(details: bytes | None) -> None:
    error = error_from_call(EndedCall(grpc.StatusCode.UNAVAILABLE, None, details))
    assert type(error) is Unavailable
    assert (error.message, error.reason, error.retry_delay) == ("", "", None)


def test_a_detail_that_cannot_be_read() -> None:
    broken = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    error = error_from_record(RecordError(code=14, details=[broken, *DETAILS]))
    assert (type(error), error.reason) == (Unavailable, "FIELD_INVALID")


def test_one_class_for_every_code() -> None:
    codes = {error.code for error in ParleyError.__subclasses__()}
    assert codes == set(grpc.StatusCode) - {grpc.StatusCode.OK}
    assert type(error_from_record(RecordError(code=99))) is Unknown
