"""The blocking client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

import grpc

from parley.v1.interactions_pb2 import (
    GetStatsResponse,
    Interaction,
    InteractionFilter,
    ListInteractionsResponse,
)
from parley.v1.interactions_pb2_grpc import InteractionServiceStub

from . import _calls
from ._calls import TIMEOUT_SECONDS, Call, Deadline, Interval, Outcomes, Recorded
from ._channels import TLS, open_channel
from ._tokens import CurrentToken, TokenSource, token_source
from .errors import Unauthenticated, error_from_call

_Response = TypeVar("_Response")
_Result = TypeVar("_Result")


class ParleyClient:
    """Records interactions and reads them back, for the tenant of its token.

    ``address`` is ``unix:PATH`` or ``HOST:PORT``; it connects with the first call. ``token`` is a
    token, or where to get one (a callable, or the path of a file) that is asked again when it
    expires or is refused. Without ``tls`` nothing is encrypted. Each call has ``timeout`` seconds
    (its own, or the client's), its retries included; a service that is away (UNAVAILABLE) is tried
    up to four times.

    What fails raises a `ParleyError`; what the token's callable raises passes through. Many threads
    may use one client. Raises ValueError for an address it cannot read.
    """

    def __init__(
        self,
        address: str,
        token: TokenSource,
        *,
        tls: TLS | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        channel: grpc.Channel = open_channel(grpc, address, tls)
        self._use(channel.close, InteractionServiceStub(channel), token, timeout)

    def record(
        self, interaction: Interaction, *, request_id: str = "", timeout: float | None = None
    ) -> Recorded:
        """Records one interaction; the answer means it is committed.

        An empty ``interaction.id`` is filled in, in place, before the first try: recording the same
        object again is recording the same interaction. With a ``request_id`` of the caller's own
        (and a ``created_at``) the service derives the id from both instead.
        """
        return self._run(_calls.record(interaction, request_id), timeout)

    def record_many(
        self, interactions: Iterable[Interaction], *, timeout: float | None = None
    ) -> Outcomes:
        """Records any number, in batches; what became of each, in order.

        One that is refused is a `ParleyError` in its place and costs the others nothing. Raises
        only when a whole batch fails; those before it are then recorded, and since the ids were
        filled in, all may be recorded again. ``timeout`` is that of each batch.
        """
        outcomes: Outcomes = []
        for call in _calls.record_many(interactions):
            batch = self._run(call, timeout)
            outcomes += batch
        return outcomes

    def get(self, id: str | UUID, *, timeout: float | None = None) -> Interaction:
        """One interaction. Raises `NotFound`, for another tenant's id too."""
        return self._run(_calls.get(id), timeout)

    def list(
        self,
        filter: InteractionFilter | None = None,
        *,
        full: bool = False,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> Iterator[Interaction]:
        """Every interaction the filter selects, newest first, fetched a page at a time.

        Without the two texts unless ``full``. ``timeout`` is that of each page.
        """
        for page in self.pages(filter, full=full, page_size=page_size, timeout=timeout):
            yield from page.interactions

    def pages(
        self,
        filter: InteractionFilter | None = None,
        *,
        full: bool = False,
        page_size: int = 0,
        page_token: str = "",
        timeout: float | None = None,
    ) -> Iterator[ListInteractionsResponse]:
        """The same, page by page; ``page_token`` goes on after the page it came with.

        ``page_size`` 0 leaves it to the service (50); it makes no page larger than 200.
        """
        while True:
            page = self._run(_calls.page(filter, page_size, page_token, full), timeout)
            yield page
            page_token = page.next_page_token
            if not page_token:
                return

    def stats(
        self,
        filter: InteractionFilter | None = None,
        *,
        interval: Interval | None = None,
        timeout: float | None = None,
    ) -> GetStatsResponse:
        """Exact counts, sums and percentiles; with ``interval`` a series of them too.

        The last 30 days, unless the filter has times.
        """
        return self._run(_calls.stats(filter, interval), timeout)

    def close(self) -> None:
        """Ends the connection; calls under way fail as `Cancelled`."""
        self._close()

    def __enter__(self) -> ParleyClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _use(
        self, close: Callable[[], None], stub: Any, token: TokenSource, timeout: float
    ) -> None:
        """Calls by a stub from now on; ``close`` ends its connection."""
        self._close = close
        self._stub = stub
        self._source = token_source(token)
        self._token = CurrentToken(token if isinstance(token, str) else None)
        self._renewing = threading.Lock()
        self._timeout = timeout

    def _run(self, call: Call[_Response, _Result], timeout: float | None) -> _Result:
        deadline = Deadline(self._timeout if timeout is None else timeout)
        token = self._bearer()
        try:
            return self._send(call, token, deadline)
        except Unauthenticated:
            if not self._token.refused(token):
                raise
            return self._send(call, self._bearer(), deadline)

    def _send(self, call: Call[_Response, _Result], token: str, deadline: Deadline) -> _Result:
        try:
            return call.result(call.start(self._stub, token, deadline))
        except grpc.RpcError as error:
            raise error_from_call(error) from error

    def _bearer(self) -> str:
        with self._renewing:
            token = self._token.get()
            if token is None:
                assert callable(self._source)
                token = self._token.keep(self._source())
            return token
