"""The background recorder and its files: what waits there, limits, full disks and damage."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Service
from patience import PATIENCE, Recorded, ids, wait_until
from proxy import Proxy

import parley_client.recorder
from parley_client import (
    BackgroundRecorder,
    Interaction,
    _spill,
)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Has every write of a spill file fail; holds one element for each try."""
    tries: list[int] = []

    def full(*_: Any) -> int:
        tries.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    return tries


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
