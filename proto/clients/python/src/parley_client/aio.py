"""The asyncio client: `ParleyClient`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

import grpc
import grpc.aio

from parley.v1.interactions_pb2 import (
    GetStatsResponse,
    Interaction,
    InteractionFilter,
    ListInteractionsResponse,
)
from parley.v1.interactions_pb2_grpc import InteractionServiceStub

from . import _calls
from ._calls import TIMEOUT_SECONDS, Call, Deadline, Interval, Outcomes, Recorded
from ._channels import TLS, grpc_target, open_channel
from ._tokens import AsyncTokenSource, CurrentToken, token_source
from .errors import Unauthenticated, error_from_call

_Response = TypeVar("_Response")
_Result = TypeVar("_Result")


class AsyncParleyClient:
    """`ParleyClient` for asyncio: the same methods, with the same meaning, awaited.

    ``token`` may also be a coroutine function. Belongs to the event loop of its first call.
    """

    def __init__(
        self,
        address: str,
        token: AsyncTokenSource,
        *,
        tls: TLS | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        grpc_target(address)
        self._address = address
        self._tls = tls
        self._source = token_source(token)
        self._token = CurrentToken(token if isinstance(token, str) else None)
        self._renewing = asyncio.Lock()
        self._timeout = timeout

    async def record(
        self, interaction: Interaction, *, request_id: str = "", timeout: float | None = None
    ) -> Recorded:
        """See `ParleyClient.record`."""
        return await self._run(_calls.record(interaction, request_id), timeout)

    async def record_many(
        self, interactions: Iterable[Interaction], *, timeout: float | None = None
    ) -> Outcomes:
        """See `ParleyClient.record_many`."""
        outcomes: Outcomes = []
        for call in _calls.record_many(interactions):
            batch = await self._run(call, timeout)
            outcomes += batch
        return outcomes

    async def get(self, id: str | UUID, *, timeout: float | None = None) -> Interaction:
        """See `ParleyClient.get`."""
        return await self._run(_calls.get(id), timeout)

    async def list(
        self,
        filter: InteractionFilter | None = None,
        *,
        full: bool = False,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncIterator[Interaction]:
        """See `ParleyClient.list`."""
        async for page in self.pages(filter, full=full, page_size=page_size, timeout=timeout):
            for interaction in page.interactions:
                yield interaction

    async def pages(
        self,
        filter: InteractionFilter | None = None,
        *,
        full: bool = False,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> AsyncIterator[ListInteractionsResponse]:
        """See `ParleyClient.pages`."""
        while True:
            page = await self._run(_calls.page(filter, page_size, page_token, full), timeout)
            yield page
            page_token = page.next_page_token
            if not page_token:
                return

    async def stats(
        self,
        filter: InteractionFilter | None = None,
        *,
        interval: Interval | None = None,
        timeout: float | None = None,
    ) -> GetStatsResponse:
        """See `ParleyClient.stats`."""
        return await self._run(_calls.stats(filter, interval), timeout)

    async def close(self) -> None:
        """Ends the connection; calls under way are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> AsyncParleyClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        # Opened with the first call, for it binds itself to the loop that runs then.
        channel: grpc.aio.Channel = open_channel(grpc.aio, self._address, self._tls)
        return channel

    @cached_property
    def _stub(self) -> Any:
        return InteractionServiceStub(self._channel)

    async def _run(self, call: Call[_Response, _Result], timeout: float | None) -> _Result:
        deadline = Deadline(self._timeout if timeout is None else timeout)
        token = await self._bearer()
        try:
            return await self._send(call, token, deadline)
        except Unauthenticated:
            if not self._token.refused(token):
                raise
            return await self._send(call, await self._bearer(), deadline)

    async def _send(
        self, call: Call[_Response, _Result], token: str, deadline: Deadline
    ) -> _Result:
        try:
            return call.result(await call.start(self._stub, token, deadline))
        except grpc.RpcError as error:
            raise error_from_call(error) from error

    async def _bearer(self) -> str:
        async with self._renewing:
            token = self._token.get()
            if token is None:
                assert callable(self._source)
                found = self._source()
                token = self._token.keep(found if isinstance(found, str) else await found)
            return token
