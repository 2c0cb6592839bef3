"""The background recorder with tokens that come late, are refused or belong to several tenants."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
from conftest import Service
from patience import PATIENCE, Recorded, wait_until
from proxy import Proxy

from parley_client import (
    BackgroundRecorder,
    Interaction,
    PermissionDenied,
    Unauthenticated,
)


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
