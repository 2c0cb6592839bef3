"""The calls, by both clients, over TCP and over a Unix socket."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from conftest import Service
from proxy import Proxy

from parley_client import (
    AlreadyExists,
    AsyncParleyClient,
    DeadlineExceeded,
    Intent,
    Interaction,
    InteractionFilter,
    InvalidArgument,
    NotFound,
    ParleyClient,
    ParleyError,
    PermissionDenied,
    Recorded,
    TokenUsage,
    Unauthenticated,
    Unavailable,
    uuid7,
)

NOON = datetime(2026, 1, 15, 12, tzinfo=timezone.utc)


class Blocking:
    """The asyncio client behind the blocking one's surface, so that one test serves both."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncParleyClient(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            result = getattr(self._client, name)(*arguments, **options)
            return self._iterate(result) if inspect.isasyncgen(result) else self._wait(result)

        return call

    def __enter__(self) -> Blocking:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._client.close())
        self._loop.close()

    def _wait(self, awaitable: Any) -> Any:
        return self._loop.run_until_complete(awaitable)

    def _iterate(self, generator: Any) -> Iterator[Any]:
        while True:
            try:
                yield self._wait(anext(generator))
            except StopAsyncIteration:
                return


@pytest.fixture(params=[ParleyClient, Blocking], ids=["blocking", "asyncio"])
def make(request: pytest.FixtureRequest) -> Any:
    """Makes either client."""
    return request.param


@pytest.fixture(params=["tcp", "unix"])
def parley(request: pytest.FixtureRequest, service: Service, make: Any) -> Iterator[Any]:
    address = service.address if request.param == "tcp" else service.unix_address
    with make(address, service.token) as client:
        yield client


def test_record_and_get_every_field(parley: Any, conversation: str) -> None:
    sent = Interaction(
        conversation_id=conversation,
        created_at=NOON,
        customer_message="Grüße, I lost my bag \N{LUGGAGE}",
        agent_response="Sorry to hear that.",
        detected_intents=[Intent(name="lost_bag", confidence=0.9), Intent(name="anger")],
        model_used="model-a",
        context_size=1580,
        processing_time_ms=1192,
        confidence_score=0.7263,
        handoff_triggered=True,
        handoff_reason="asked for a person",
        message_type="voice_note",
        token_usage=TokenUsage(prompt_tokens=1558, completion_tokens=23),
        estimated_cost_nanos=4_125_000,
    )
    recorded = parley.record(sent)
    assert recorded == Recorded(sent.id, NOON, already_recorded=False)

    found = parley.get(recorded.id)
    assert found.HasField("updated_at")
    found.ClearField("updated_at")
    assert found.token_usage.total_tokens == 1581
    found.token_usage.total_tokens = 0
    assert found == sent


def test_record_again_is_recorded_once(parley: Any, conversation: str) -> None:
    interaction = Interaction(conversation_id=conversation, customer_message="Hello")
    first = parley.record(interaction)
    assert parley.record(interaction) == Recorded(first.id, first.created_at, already_recorded=True)
    assert len(list(parley.list(InteractionFilter(conversation_id=conversation)))) == 1


def test_other_content_under_the_same_id_is_refused(parley: Any, conversation: str) -> None:
    interaction = Interaction(conversation_id=conversation, customer_message="Hello")
    parley.record(interaction)
    changed = Interaction(id=interaction.id, conversation_id=conversation, customer_message="Bye")
    with pytest.raises(AlreadyExists) as refused:
        parley.record(changed)
    assert refused.value.reason == "INTERACTION_CONFLICT"
    assert refused.value.domain == "parley"
    assert parley.get(interaction.id).customer_message == "Hello"


def test_request_id_makes_retries_safe(parley: Any, conversation: str) -> None:
    def attempt() -> Recorded:
        interaction = Interaction(conversation_id=conversation, created_at=NOON)
        recorded: Recorded = parley.record(interaction, request_id=conversation)
        return recorded

    first, second = attempt(), attempt()
    assert (first.id, second.id) == (second.id, first.id)
    assert (first.already_recorded, second.already_recorded) == (False, True)


def test_an_error_names_every_field(parley: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parley.record(Interaction(confidence_score=1.5))
    fields = {violation.field for violation in refused.value.field_violations}
    assert fields == {"interaction.conversation_id", "interaction.confidence_score"}
    assert all(violation.description for violation in refused.value.field_violations)
    assert refused.value.reason == "FIELD_INVALID"
    assert refused.value.domain == "parley"
    assert "conversation_id" in refused.value.message


def test_a_batch_tells_each_its_own(parley: Any, conversation: str) -> None:
    batch = [Interaction(conversation_id=conversation, context_size=n) for n in range(5)]
    batch[2].confidence_score = -1
    parley.record(batch[4])
    outcomes = parley.record_many(batch)
    assert [type(outcome) for outcome in outcomes] == [
        Recorded,
        Recorded,
        InvalidArgument,
        Recorded,
        Recorded,
    ]
    assert [outcomes[n].id for n in (0, 1, 3, 4)] == [batch[n].id for n in (0, 1, 3, 4)]
    assert [outcomes[n].already_recorded for n in (0, 1, 3, 4)] == [False, False, False, True]
    assert outcomes[2].field_violations[0].field == "interactions[2].confidence_score"


def test_many_are_cut_into_batches(parley: Any, conversation: str) -> None:
    numerous = [Interaction(conversation_id=conversation) for _ in range(1001)]
    large = [
        Interaction(conversation_id=conversation, customer_message="x" * 65536) for _ in range(100)
    ]
    outcomes = parley.record_many(iter(numerous + large))
    assert [outcome.id for outcome in outcomes] == [sent.id for sent in numerous + large]
    assert parley.record_many([]) == []


def test_list_pages_newest_first(parley: Any, conversation: str) -> None:
    wanted = InteractionFilter(conversation_id=conversation)
    sent = [
        Interaction(
            conversation_id=conversation,
            created_at=NOON + timedelta(milliseconds=n),
            customer_message="private",
        )
        for n in range(25)
    ]
    parley.record_many(sent)
    newest_first = [interaction.id for interaction in reversed(sent)]

    pages = list(parley.pages(wanted, page_size=10))
    assert [len(page.interactions) for page in pages] == [10, 10, 5]
    assert [i.id for page in pages for i in page.interactions] == newest_first
    assert [i.id for i in parley.list(wanted, page_size=7)] == newest_first

    following = next(parley.pages(wanted, page_size=10, page_token=pages[0].next_page_token))
    assert following == pages[1]

    assert {i.customer_message for i in parley.list(wanted)} == {""}
    assert {i.customer_message for i in parley.list(wanted, full=True)} == {"private"}


def test_filters(parley: Any, conversation: str) -> None:
    parley.record_many(
        Interaction(
            conversation_id=conversation,
            created_at=NOON + timedelta(minutes=n),
            confidence_score=n / 10,
            model_used=f"model-{n % 2}",
            detected_intents=[Intent(name="refund")] if n == 3 else [],
            handoff_triggered=n == 4,
        )
        for n in range(10)
    )

    def minutes(**fields: Any) -> list[int]:
        wanted = InteractionFilter(conversation_id=conversation, **fields)
        found = [i.created_at.ToDatetime(tzinfo=timezone.utc) for i in parley.list(wanted)]
        return [(time - NOON) // timedelta(minutes=1) for time in reversed(found)]

    assert minutes(model_used="model-1", min_confidence=0.5) == [5, 7, 9]
    assert minutes(max_confidence=0.2) == [0, 1, 2]
    assert minutes(intent="refund") == [3]
    assert minutes(handoff_triggered=True) == [4]
    assert minutes(handoff_triggered=False, max_confidence=0.4) == [0, 1, 2, 3]
    assert minutes(start_time=NOON + timedelta(minutes=8)) == [8, 9]
    assert minutes(end_time=NOON + timedelta(minutes=2)) == [0, 1]


def test_a_page_token_belongs_to_its_filter(parley: Any, conversation: str) -> None:
    parley.record_many(Interaction(conversation_id=conversation) for _ in range(3))
    wanted = InteractionFilter(conversation_id=conversation)
    token = next(parley.pages(wanted, page_size=1)).next_page_token
    assert token
    with pytest.raises(InvalidArgument) as refused:
        next(parley.pages(InteractionFilter(model_used="other"), page_token=token))
    assert refused.value.field_violations[0].field == "page_token"
    with pytest.raises(InvalidArgument):
        next(parley.pages(wanted, page_size=-1))


def test_stats_are_exact(parley: Any, conversation: str) -> None:
    parley.record_many(
        Interaction(
            conversation_id=conversation,
            created_at=NOON + timedelta(hours=n % 3),
            confidence_score=score,
            processing_time_ms=100 * (n + 1),
            model_used="small" if n < 3 else "large",
            handoff_triggered=n == 0,
            handoff_reason="angry" if n == 0 else "",
            token_usage=TokenUsage(prompt_tokens=10, completion_tokens=n),
            estimated_cost_nanos=1_000_000_007,
        )
        for n, score in enumerate((0.0, 0.1, 0.7, 0.95, 1.0))
    )
    wanted = InteractionFilter(
        conversation_id=conversation, start_time=NOON, end_time=NOON + timedelta(days=1)
    )
    stats = parley.stats(wanted, interval="hour")
    totals = stats.totals
    assert totals.total_interactions == 5
    assert totals.total_cost_nanos == 5_000_000_035
    assert totals.avg_confidence == pytest.approx(0.55)
    assert (totals.handoff_count, totals.handoff_rate) == (1, 0.2)
    assert totals.avg_processing_time_ms == 300
    assert totals.p50_processing_time_ms == 300
    assert totals.p95_processing_time_ms == totals.p99_processing_time_ms == 500
    assert (totals.prompt_tokens, totals.completion_tokens, totals.total_tokens) == (50, 10, 60)
    assert totals.avg_tokens == 12
    assert (totals.high_confidence_count, totals.low_confidence_count) == (3, 2)
    assert list(totals.confidence_histogram) == [1, 1, 0, 0, 0, 0, 0, 1, 0, 2]
    by_model = [(group.key, group.stats.total_interactions) for group in stats.by_model]
    assert by_model == [("small", 3), ("large", 2)]
    assert [group.key for group in stats.by_message_type] == ["text"]
    assert [group.key for group in stats.by_handoff_reason] == ["angry"]
    series = [
        (point.start_time.ToDatetime(tzinfo=timezone.utc), point.stats.total_interactions)
        for point in stats.series
    ]
    assert series == [(NOON + timedelta(hours=n), count) for n, count in enumerate((2, 2, 1))]
    assert not parley.stats(wanted).series


def test_stats_of_the_last_30_days_by_default(parley: Any, conversation: str) -> None:
    parley.record(Interaction(conversation_id=conversation))
    parley.record(Interaction(conversation_id=conversation, created_at=NOON - timedelta(days=365)))
    stats = parley.stats(InteractionFilter(conversation_id=conversation))
    assert stats.totals.total_interactions == 1
    assert stats.end_time.ToDatetime() - stats.start_time.ToDatetime() == timedelta(days=30)


def test_not_found(parley: Any) -> None:
    absent = uuid7()
    with pytest.raises(NotFound) as missing:
        parley.get(absent)
    assert str(absent) in missing.value.message
    with pytest.raises(InvalidArgument) as malformed:
        parley.get("abc")
    assert malformed.value.field_violations[0].field == "id"


def test_another_tenant_sees_nothing(service: Service, parley: Any, conversation: str) -> None:
    theirs = parley.record(Interaction(conversation_id=conversation)).id
    wanted = InteractionFilter(conversation_id=conversation)
    with ParleyClient(service.address, service.other_token) as other:
        with pytest.raises(NotFound):
            other.get(theirs)
        assert list(other.list(wanted)) == []
        assert other.stats(wanted).totals.total_interactions == 0
        # The id is free in the other tenant, and taken in this one.
        assert not other.record(
            Interaction(id=theirs, conversation_id=conversation)
        ).already_recorded


def test_a_token_that_is_none(service: Service, make: Any) -> None:
    with make(service.address, "nonsense") as parley, pytest.raises(Unauthenticated) as refused:
        parley.get(uuid7())
    assert refused.value.domain == "parley"


def test_a_missing_scope_is_named(service: Service, make: Any, conversation: str) -> None:
    with make(service.address, service.read_token) as parley:
        with pytest.raises(PermissionDenied, match="interactions:record") as refused:
            parley.record(Interaction(conversation_id=conversation))
        assert refused.value.reason == "SCOPE_MISSING"
        with pytest.raises(PermissionDenied):
            parley.record_many([Interaction(conversation_id=conversation)])
        assert list(parley.list(InteractionFilter(conversation_id=conversation))) == []


def test_a_token_source_is_asked_once_more(service: Service, make: Any) -> None:
    tokens = iter(["nonsense", service.token, "never asked for"])
    with make(service.address, lambda: next(tokens)) as parley:
        for _ in range(3):
            with pytest.raises(NotFound):
                parley.get(uuid7())
    assert next(tokens) == "never asked for"


def test_a_token_source_that_has_none(service: Service, make: Any) -> None:
    asked = []

    def source() -> str:
        asked.append(1)
        return "nonsense"

    with make(service.address, source) as parley, pytest.raises(Unauthenticated):
        parley.get(uuid7())
    assert len(asked) == 2

    def fail() -> str:
        raise LookupError("no token today")

    with make(service.address, fail) as parley, pytest.raises(LookupError):
        parley.get(uuid7())


def test_a_token_source_may_be_a_coroutine(service: Service) -> None:
    async def token() -> str:
        await asyncio.sleep(0)
        return service.token

    async def main() -> None:
        async with AsyncParleyClient(service.address, token) as parley:
            with pytest.raises(NotFound):
                await parley.get(uuid7())

    asyncio.run(main())


def test_asyncio_calls_run_side_by_side(service: Service, conversation: str) -> None:
    async def main() -> list[Recorded]:
        async with AsyncParleyClient(service.address, service.token) as parley:
            return await asyncio.gather(
                *(parley.record(Interaction(conversation_id=conversation)) for _ in range(50))
            )

    assert len({recorded.id for recorded in asyncio.run(main())}) == 50


def test_a_deadline_passes(service: Service, make: Any, proxy: Proxy) -> None:
    with make(proxy.address, service.token, timeout=30) as parley:
        with pytest.raises(NotFound):
            parley.get(uuid7())
        proxy.hang()
        begin = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            parley.get(uuid7(), timeout=0.3)
        assert 0.2 < time.monotonic() - begin < 5
        with pytest.raises(DeadlineExceeded):
            parley.get(uuid7(), timeout=0)
        proxy.resume()
        with pytest.raises(NotFound):
            parley.get(uuid7())


def test_a_default_deadline(service: Service, make: Any, proxy: Proxy) -> None:
    proxy.hang()
    impatient = make(proxy.address, service.token, timeout=0.3)
    with impatient as parley, pytest.raises(DeadlineExceeded):
        parley.stats()


def test_a_service_that_is_away(service: Service, make: Any, proxy: Proxy) -> None:
    proxy.cut()
    with make(proxy.address, service.token) as parley, pytest.raises(Unavailable) as away:
        parley.get(uuid7())
    assert away.value.reason == ""
    assert str(away.value).startswith("UNAVAILABLE: ")


def test_a_service_that_comes_back_is_retried(
    service: Service, make: Any, proxy: Proxy, conversation: str
) -> None:
    with make(proxy.address, service.token) as parley:
        parley.record(Interaction(conversation_id=conversation))
        proxy.cut()
        threading.Timer(0.2, proxy.restore).start()
        recorded = parley.record(Interaction(conversation_id=conversation))
    assert not recorded.already_recorded


def test_every_error_is_a_parley_error(parley: Any) -> None:
    with pytest.raises(ParleyError):
        parley.get("abc")
