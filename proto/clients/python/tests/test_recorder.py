"""The background recorder against a service that goes away, hangs, refuses and comes back."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Service
from proxy import Proxy

import parley_client.recorder
from parley_client import (
    TLS,
    BackgroundRecorder,
    Interaction,
    InvalidArgument,
    ParleyError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    _spill,
)
from parley_client._ttrpc import FramedClient

Recorded = Callable[[], list[Interaction]]
PATIENCE = 30.0


def ids(interactions: Iterable[Interaction]) -> list[str]:
    return sorted(interaction.id for interaction in interactions)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has every write of a spill file fail; holds one element for each try."""
    tries: list[int] = []

    def full(*_: Any) -> int:
        tries.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    return tries


def test_records(service: Service, tmp_path: Path, conversation: str, recorded: Recorded) -> None:
    with BackgroundRecorder(service.address, service.token, tmp_path) as recorder:
        interaction = Interaction(conversation_id=conversation, customer_message="Hello")
        id = recorder.record(interaction)
        assert id == interaction.id
        interaction.customer_message = "changed afterwards"
        assert recorder.flush(PATIENCE)
        assert [(i.id, i.customer_message) for i in recorded()] == [(id, "Hello")]
        assert (recorder.waiting, recorder.dropped) == (0, 0)
    assert list(tmp_path.iterdir()) == []


def test_closing_flushes(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(service.unix_address, service.token, tmp_path) as recorder:
        sent = [recorder.record(Interaction(conversation_id=conversation)) for _ in range(2500)]
    assert ids(recorded()) == sorted(sent)
    assert list(tmp_path.iterdir()) == []
    recorder.close()
    assert not recorder.flush()
    with pytest.raises(RuntimeError, match="closed"):
        recorder.record(Interaction(conversation_id=conversation))


def test_recording_again_is_recorded_once(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(service.address, service.token, tmp_path) as recorder:
        interaction = Interaction(conversation_id=conversation)
        assert recorder.record(interaction) == recorder.record(interaction)
    assert ids(recorded()) == [interaction.id]


def test_large_ones_are_cut_into_batches(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(service.address, service.token, tmp_path) as recorder:
        for _ in range(200):
            recorder.record(Interaction(conversation_id=conversation, customer_message="x" * 65536))
        assert recorder.flush(PATIENCE)
    assert len(recorded()) == 200


def test_a_service_that_goes_away_and_comes_back(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(proxy.address, service.token, tmp_path) as recorder:
        sent = [recorder.record(Interaction(conversation_id=conversation))]
        assert recorder.flush(PATIENCE)
        for _ in range(2):
            proxy.cut()
            sent += [recorder.record(Interaction(conversation_id=conversation)) for _ in range(50)]
            wait_until(lambda: recorder.waiting == 0)
            assert list(tmp_path.iterdir())
            assert not recorder.flush(0.1)
            proxy.restore()
            assert recorder.flush(PATIENCE)
            assert ids(recorded()) == sorted(sent)
            assert list(tmp_path.iterdir()) == []


def test_a_service_that_hangs_never_blocks_the_turn(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.hang()
    with BackgroundRecorder(proxy.address, service.token, tmp_path, timeout=60) as recorder:
        sent, longest = [], 0.0
        for _ in range(5000):
            begin = time.perf_counter()
            sent.append(
                recorder.record(
                    Interaction(conversation_id=conversation, customer_message="x" * 4000)
                )
            )
            longest = max(longest, time.perf_counter() - begin)
        assert longest < 1.0
        # 20 MB: more than the memory takes. And a call that hangs does not keep its records either.
        wait_until(lambda: recorder.waiting == 0)
        proxy.resume()
        assert recorder.flush(PATIENCE)
    assert ids(recorded()) == sorted(sent)


def test_a_dead_connection_is_given_up(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(proxy.address, service.token, tmp_path, timeout=0.5) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        assert recorder.flush(PATIENCE)
        proxy.forget()
        recorder.record(Interaction(conversation_id=conversation))
        assert recorder.flush(PATIENCE)
    assert len(recorded()) == 2


def test_what_could_not_be_sent_waits_for_the_next(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.cut()
    begin = time.monotonic()
    with BackgroundRecorder(proxy.address, service.token, tmp_path) as recorder:
        sent = [recorder.record(Interaction(conversation_id=conversation)) for _ in range(10)]
    assert time.monotonic() - begin < 10
    assert recorder.dropped == 0
    assert recorded() == []

    with BackgroundRecorder(service.address, service.token, tmp_path) as following:
        assert following.flush(PATIENCE)
    assert ids(recorded()) == sorted(sent)
    assert list(tmp_path.iterdir()) == []


def test_closing_does_not_wait_for_a_service_that_hangs(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.hang()
    recorder = BackgroundRecorder(proxy.address, service.token, tmp_path, timeout=60)
    id = recorder.record(Interaction(conversation_id=conversation))
    begin = time.monotonic()
    recorder.close(timeout=0.2)
    assert time.monotonic() - begin < 5
    with BackgroundRecorder(service.address, service.token, tmp_path) as following:
        assert following.flush(PATIENCE)
    assert ids(recorded()) == [id]


def test_a_refused_one_is_told_and_costs_no_other(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    refused: list[tuple[Interaction, ParleyError]] = []

    def on_refused(interaction: Interaction, error: ParleyError) -> None:
        refused.append((interaction, error))
        raise LookupError("a callback that fails")

    with BackgroundRecorder(
        service.address, service.token, tmp_path, on_refused=on_refused
    ) as recorder:
        bad = Interaction(conversation_id=conversation, confidence_score=7)
        good = [recorder.record(Interaction(conversation_id=conversation)) for _ in range(2)]
        recorder.record(bad)
        good.append(recorder.record(Interaction(conversation_id=conversation)))
        assert recorder.flush(PATIENCE)
    ((interaction, error),) = refused
    assert interaction == bad
    assert isinstance(error, InvalidArgument)
    assert error.field_violations[0].field.endswith("confidence_score")
    assert ids(recorded()) == sorted(good)
    assert list(tmp_path.iterdir()) == []


def test_one_too_large_to_send_is_refused(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    refused = []
    with BackgroundRecorder(
        service.address, service.token, tmp_path, on_refused=lambda i, e: refused.append((i.id, e))
    ) as recorder:
        id = recorder.record(
            Interaction(conversation_id=conversation, customer_message="x" * 5_000_000)
        )
        recorder.record(Interaction(conversation_id=conversation))
        assert recorder.flush(PATIENCE)
    assert [(i, type(e)) for i, e in refused] == [(id, InvalidArgument)]
    assert len(recorded()) == 1


def test_a_limit_is_kept_and_what_it_costs_is_told(
    service: Service,
    tmp_path: Path,
    proxy: Proxy,
    conversation: str,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parley_client.recorder, "MEMORY_BYTES_LIMIT", 100_000)
    proxy.cut()
    told: list[int] = []
    with BackgroundRecorder(
        proxy.address, service.token, tmp_path, limit_bytes=200_000, on_dropped=told.append
    ) as recorder:
        for _ in range(100):
            recorder.record(Interaction(conversation_id=conversation, customer_message="x" * 9900))
            time.sleep(0.02)
        wait_until(lambda: recorder.dropped > 0 and sum(told) == recorder.dropped)
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200_000
        kept = 100 - recorder.dropped
        assert 15 <= kept <= 30
        proxy.restore()
        assert recorder.flush(PATIENCE)
        recorder.record(Interaction(conversation_id=conversation))
    assert len(recorded()) == kept + 1


def test_a_disk_that_is_full_drops_nothing(
    service: Service,
    tmp_path: Path,
    proxy: Proxy,
    conversation: str,
    recorded: Recorded,
    full_disk: list[int],
) -> None:
    proxy.cut()
    with BackgroundRecorder(proxy.address, service.token, tmp_path) as recorder:
        sent = [recorder.record(Interaction(conversation_id=conversation)) for _ in range(10)]
        wait_until(lambda: len(full_disk) >= 2)
        assert recorder.waiting == 10
        proxy.restore()
        assert recorder.flush(PATIENCE)
        assert recorder.dropped == 0
    assert ids(recorded()) == sorted(sent)


def test_what_fits_nowhere_at_the_end_is_told(
    service: Service,
    tmp_path: Path,
    proxy: Proxy,
    conversation: str,
    full_disk: list[int],
) -> None:
    proxy.cut()
    told: list[int] = []
    with BackgroundRecorder(
        proxy.address, service.token, tmp_path, on_dropped=told.append
    ) as recorder:
        for _ in range(10):
            recorder.record(Interaction(conversation_id=conversation))
    assert told == [10]
    assert recorder.dropped == 10


def test_a_damaged_record_is_told(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.cut()
    with BackgroundRecorder(proxy.address, service.token, tmp_path) as recorder:
        for text in ("first", "second", "third"):
            recorder.record(Interaction(conversation_id=conversation, customer_message=text))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes().replace(b"second", b"sec0nd"))
    told: list[int] = []
    with BackgroundRecorder(
        service.address, service.token, tmp_path, on_dropped=told.append
    ) as following:
        assert following.flush(PATIENCE)
    assert told == [1]
    assert sorted(i.customer_message for i in recorded()) == ["first", "third"]


def test_a_pause_the_service_asks_for_is_kept(
    service: Service,
    tmp_path: Path,
    conversation: str,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tries: list[float] = []

    class Overloaded(FramedClient):
        def record_many(self, *arguments: Any, **options: Any) -> Any:
            tries.append(time.monotonic())
            if len(tries) == 1:
                raise Unavailable("the database is away", retry_delay=1.5)
            if len(tries) == 2:
                return [Unavailable("and still is", retry_delay=0.7)]
            return super().record_many(*arguments, **options)

    monkeypatch.setattr(parley_client.recorder, "FramedClient", Overloaded)
    with BackgroundRecorder(service.address, service.token, tmp_path) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        assert recorder.flush(PATIENCE)
    assert tries[1] - tries[0] >= 1.5
    assert tries[2] - tries[1] >= 0.7
    assert len(recorded()) == 1


def test_a_batch_that_one_record_spoils(
    service: Service,
    tmp_path: Path,
    conversation: str,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Strict(FramedClient):
        def record_many(self, interactions: Any, **options: Any) -> Any:
            if any(interaction.context_size == 37 for interaction in interactions):
                raise InvalidArgument("one of these is bad")
            return super().record_many(interactions, **options)

    monkeypatch.setattr(parley_client.recorder, "FramedClient", Strict)
    refused: list[int] = []
    with BackgroundRecorder(
        service.address,
        service.token,
        tmp_path,
        on_refused=lambda interaction, error: refused.append(interaction.context_size),
    ) as recorder:
        for size in range(100):
            recorder.record(Interaction(conversation_id=conversation, context_size=size))
        assert recorder.flush(PATIENCE)
    assert refused == [37]
    assert len(recorded()) == 99


def test_a_token_that_comes_late(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    answers: list[str | None] = [None, "nonsense", "nonsense", service.token]

    def token() -> str:
        answer = answers.pop(0)
        if answer is None:
            raise LookupError("no token yet")
        return answer

    with BackgroundRecorder(service.address, token, tmp_path) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        assert recorder.flush(PATIENCE)
    assert answers == []
    assert len(recorded()) == 1


def test_a_missing_scope_loses_nothing(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    with BackgroundRecorder(service.address, service.read_token, tmp_path) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        assert not recorder.flush(2)
    with BackgroundRecorder(service.address, service.token, tmp_path) as following:
        assert following.flush(PATIENCE)
    assert len(recorded()) == 1


def test_tenants_that_share_a_directory(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.cut()
    with BackgroundRecorder(proxy.address, service.token, tmp_path) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
    with BackgroundRecorder(service.address, lambda: service.other_token, tmp_path) as other:
        other.record(Interaction(conversation_id=conversation))
        assert other.flush(PATIENCE)
    assert len(list(tmp_path.iterdir())) == 1
    assert recorded() == []
    with BackgroundRecorder(service.address, service.token, tmp_path) as following:
        assert following.flush(PATIENCE)
    assert len(recorded()) == 1


def test_a_slow_link_carries_what_it_can(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    # The whole is more than it carries within the deadline of one batch.
    proxy.throttle(60_000)
    with BackgroundRecorder(proxy.address, service.token, tmp_path, timeout=1) as recorder:
        text = "x" * 1000
        sent = [
            recorder.record(Interaction(conversation_id=conversation, customer_message=text))
            for _ in range(250)
        ]
        assert recorder.flush(PATIENCE)
        assert recorder.stats().sent == 250
    assert ids(recorded()) == sorted(sent)


def test_what_is_answered_for_is_not_sent_again_from_the_spill(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    proxy.hang()
    with BackgroundRecorder(proxy.address, service.token, tmp_path, timeout=60) as recorder:
        text = "x" * 5000
        for _ in range(20):
            recorder.record(Interaction(conversation_id=conversation, customer_message=text))
        # The first of them are under way, and the keeper has taken them too.
        wait_until(lambda: recorder.waiting == 0)
        proxy.resume()
        assert recorder.flush(PATIENCE)
        assert recorder.stats().sent == recorder.stats().spilled == 20
    assert len(recorded()) == 20
    assert proxy.carried < 150_000


def test_a_refused_token_is_loud_and_loses_nothing(
    service: Service,
    tmp_path: Path,
    conversation: str,
    recorded: Recorded,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token, errors = [service.read_token], list[Exception]()
    with BackgroundRecorder(
        service.address, lambda: token[0], tmp_path, on_error=errors.append
    ) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        wait_until(lambda: len(errors) >= 2)
        assert all(isinstance(error, PermissionDenied) for error in errors)
        (line,) = caplog.records
        assert line.levelno == logging.ERROR
        assert "interactions:record" in line.getMessage()
        assert "until its source gives a token" in line.getMessage()

        token[0] = "nonsense"
        wait_until(lambda: isinstance(errors[-1], Unauthenticated))
        assert "TOKEN_INVALID" in caplog.records[1].getMessage()
        stats = recorder.stats()
        assert (stats.sent, stats.dropped, stats.last_success_at) == (0, 0, None)
        assert stats.waiting + stats.spilled == 1
        assert isinstance(stats.last_error, Unauthenticated)
        assert stats.last_error_at is not None
        assert stats.oldest_waiting_at is not None
        assert stats.oldest_waiting_at < stats.last_error_at

        token[0] = service.token
        assert recorder.flush(PATIENCE)
        stats = recorder.stats()
        assert (stats.sent, stats.waiting, stats.spill_bytes) == (1, 0, 0)
        assert stats.last_success_at is not None
        assert stats.oldest_waiting_at is None
    assert "works again" in caplog.records[-1].getMessage()
    assert len(recorded()) == 1


def test_a_fixed_token_that_is_refused_says_what_helps(
    service: Service, tmp_path: Path, conversation: str, caplog: pytest.LogCaptureFixture
) -> None:
    with BackgroundRecorder(service.address, "nonsense", tmp_path) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        wait_until(lambda: bool(caplog.records))
    assert "a callable or a path renews it" in caplog.records[0].getMessage()


def test_a_token_from_a_file_is_read_again(
    service: Service, tmp_path: Path, conversation: str, recorded: Recorded
) -> None:
    file = tmp_path / "token"
    file.write_text("nonsense\n")
    failed = threading.Event()
    with BackgroundRecorder(
        service.address, file, tmp_path / "spill", on_error=lambda _: failed.set()
    ) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        assert failed.wait(PATIENCE)
        file.write_text(f"{service.token}\n")
        assert recorder.flush(PATIENCE)
    assert len(recorded()) == 1


def test_an_error_callback_that_fails_stops_nothing(
    service: Service, tmp_path: Path, proxy: Proxy, conversation: str, recorded: Recorded
) -> None:
    told = []

    def on_error(error: Exception) -> None:
        told.append(error)
        raise LookupError("a callback that fails")

    proxy.cut()
    with BackgroundRecorder(proxy.address, service.token, tmp_path, on_error=on_error) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        wait_until(lambda: len(told) >= 2)
        assert all(isinstance(error, Unavailable) for error in told)
        proxy.restore()
        assert recorder.flush(PATIENCE)
    assert len(recorded()) == 1


def test_a_disk_that_is_full_is_told(
    service: Service,
    tmp_path: Path,
    proxy: Proxy,
    conversation: str,
    full_disk: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy.cut()
    told: list[Exception] = []
    with BackgroundRecorder(
        proxy.address, service.token, tmp_path, on_error=told.append
    ) as recorder:
        recorder.record(Interaction(conversation_id=conversation))
        wait_until(lambda: any(isinstance(error, OSError) for error in told))
        monkeypatch.undo()


def test_a_flush_waits_for_what_another_process_has_taken_over(
    service: Service,
    tmp_path: Path,
    proxy: Proxy,
    conversation: str,
    recorded: Recorded,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reached(recorder: BackgroundRecorder, spilled: int) -> bool:
        return recorder.stats().spilled == spilled

    monkeypatch.setattr(_spill, "FILE_BYTES_MAX", 1)
    proxy.cut()
    with BackgroundRecorder(proxy.address, service.token, tmp_path) as recorder:
        for spilled in (1, 2, 3):
            recorder.record(Interaction(conversation_id=conversation))
            wait_until(partial(reached, recorder, spilled))
        other = _spill.Spill(tmp_path, None)
        other.own(service.token)
        file = other.claim()
        assert file is not None
        proxy.restore()
        assert not recorder.flush(1)
        file.release()
        assert recorder.flush(PATIENCE)
    assert len(recorded()) == 3


def test_over_grpc(service: Service, tmp_path: Path, conversation: str, recorded: Recorded) -> None:
    with BackgroundRecorder(service.address, service.token, tmp_path, protocol="grpc") as recorder:
        sent = [recorder.record(Interaction(conversation_id=conversation)) for _ in range(50)]
        assert recorder.flush(PATIENCE)
    assert ids(recorded()) == sorted(sent)


def test_bad_arguments(service: Service, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no address"):
        BackgroundRecorder("nowhere", service.token, tmp_path)
    with pytest.raises(ValueError, match="not encrypted"):
        BackgroundRecorder(service.address, service.token, tmp_path, tls=TLS(), protocol="ttrpc")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        BackgroundRecorder(service.address, service.token, tmp_path / "file")
