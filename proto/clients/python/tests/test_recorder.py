"""The background recorder against a service that goes away, hangs, refuses and comes back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Service
from patience import PATIENCE, Recorded, ids, wait_until
from proxy import Proxy

import parley_client.recorder
from parley_client import (
    TLS,
    BackgroundRecorder,
    Interaction,
    InvalidArgument,
    ParleyError,
    Unavailable,
)
from parley_client._ttrpc import FramedClient


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
                raise Unavailable("the database is not available", retry_delay=1.5)
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
