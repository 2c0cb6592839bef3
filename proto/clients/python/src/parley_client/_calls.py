"""The calls of the service as values, shared by the blocking and the asyncio client."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from parley.v1.interactions_pb2 import (
    INTERACTION_VIEW_BASIC,
    INTERACTION_VIEW_FULL,
    STATS_INTERVAL_DAY,
    STATS_INTERVAL_HOUR,
    STATS_INTERVAL_UNSPECIFIED,
    GetInteractionRequest,
    GetInteractionResponse,
    GetStatsRequest,
    GetStatsResponse,
    Interaction,
    InteractionFilter,
    ListInteractionsRequest,
    ListInteractionsResponse,
    RecordInteractionRequest,
    RecordInteractionResponse,
    RecordInteractionsRequest,
    RecordInteractionsResponse,
    RecordResult,
)

from ._ids import ensure_id
from .errors import ParleyError, error_from_record

BATCH_INTERACTIONS_MAX = 1000
BATCH_BYTES_MAX = 3 * 1024 * 1024
"""Of the interactions in one batch. The service takes messages of 4 MiB."""

TIMEOUT_SECONDS = 10.0
"""The deadline of a call that is given none."""

Interval = Literal["hour", "day"]
_INTERVALS = {
    None: STATS_INTERVAL_UNSPECIFIED,
    "hour": STATS_INTERVAL_HOUR,
    "day": STATS_INTERVAL_DAY,
}

_Response = TypeVar("_Response")
_Result = TypeVar("_Result")
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Recorded:
    """An interaction the service has committed.

    ``created_at`` is in UTC. ``already_recorded``: it had been there before, with the same content.
    """

    id: str
    created_at: datetime
    already_recorded: bool


Outcomes = list[Recorded | ParleyError]
"""What became of each interaction of a batch, in its order."""


@dataclass(frozen=True)
class Call(Generic[_Response, _Result]):
    """One call: the method's name, what to send, and how to read the answer."""

    method: str
    request: Message
    result: Callable[[_Response], _Result]

    def start(self, stub: Any, token: str, deadline: Deadline) -> Any:
        """Sends it: the response from a blocking stub, something to await from an asyncio one."""
        metadata = (("authorization", f"Bearer {token}"),)
        return getattr(stub, self.method)(self.request, timeout=deadline.left(), metadata=metadata)


class Deadline:
    """The end of a call, however many tries it takes."""

    def __init__(self, timeout: float) -> None:
        self._end = time.monotonic() + timeout

    def left(self) -> float:
        """Seconds, not negative."""
        return max(0.0, self._end - time.monotonic())


def record(interaction: Interaction, request_id: str) -> Call[RecordInteractionResponse, Recorded]:
    if not request_id:
        ensure_id(interaction)
    request = RecordInteractionRequest(interaction=interaction, request_id=request_id)
    return Call("RecordInteraction", request, _recorded)


def record_many(
    interactions: Iterable[Interaction],
) -> Iterator[Call[RecordInteractionsResponse, Outcomes]]:
    """As many calls as the limits of a batch ask for."""
    for batch in batches(interactions, Interaction.ByteSize):
        for interaction in batch:
            ensure_id(interaction)
        request = RecordInteractionsRequest(interactions=batch)
        yield Call("RecordInteractions", request, _outcomes)


def batches(
    items: Iterable[_Item], size: Callable[[_Item], int], limit_bytes: int = BATCH_BYTES_MAX
) -> Iterator[list[_Item]]:
    """Cuts ``items`` into pieces that make one batch each. One too large for any stands alone."""
    batch: list[_Item] = []
    total = 0
    for item in items:
        bytes_ = size(item)
        if batch and (len(batch) == BATCH_INTERACTIONS_MAX or total + bytes_ > limit_bytes):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += bytes_
    if batch:
        yield batch


def get(id: str | UUID) -> Call[GetInteractionResponse, Interaction]:
    request = GetInteractionRequest(id=str(id))
    return Call("GetInteraction", request, lambda response: response.interaction)


def page(
    filter: InteractionFilter | None, page_size: int, page_token: str, full: bool
) -> Call[ListInteractionsResponse, ListInteractionsResponse]:
    request = ListInteractionsRequest(
        filter=filter,
        page_size=page_size,
        page_token=page_token,
        view=INTERACTION_VIEW_FULL if full else INTERACTION_VIEW_BASIC,
    )
    return Call("ListInteractions", request, lambda response: response)


def stats(
    filter: InteractionFilter | None, interval: Interval | None
) -> Call[GetStatsResponse, GetStatsResponse]:
    request = GetStatsRequest(filter=filter, interval=_INTERVALS[interval])
    return Call("GetStats", request, lambda response: response)


def _recorded(result: RecordInteractionResponse | RecordResult) -> Recorded:
    created_at = result.created_at.ToDatetime(tzinfo=timezone.utc)
    return Recorded(result.interaction_id, created_at, result.already_recorded)


def _outcomes(response: RecordInteractionsResponse) -> Outcomes:
    return [
        error_from_record(result.error) if result.HasField("error") else _recorded(result)
        for result in response.results
    ]
