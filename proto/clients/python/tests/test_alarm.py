"""What the log says while something fails, on a clock of the test's own."""

from __future__ import annotations

import logging

import pytest

from parley_client import PermissionDenied, Unauthenticated, Unavailable
from parley_client._alarm import Alarm


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_is_said_again_at_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    alarm = Alarm("recording", clock)
    said: list[int] = []
    for second in range(7200):
        clock.now = second
        alarm.failed(Unavailable("no connection"), "7 wait")
        if len(caplog.records) > len(said):
            said.append(second)
    assert said[:8] == [0, 10, 30, 70, 150, 310, 630, 1230]
    assert said[-1] - said[-2] == 600
    begin, later, *_ = (record.getMessage() for record in caplog.records)
    assert begin.startswith("recording fails")
    assert "7 wait" in begin
    assert "no connection" in begin
    assert later.startswith("recording has failed for 10 s, in 11 tries")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_another_failure_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    alarm = Alarm("recording", clock)
    alarm.failed(Unavailable("no connection"), "")
    alarm.failed(Unauthenticated("the token has expired", "TOKEN_EXPIRED"), "")
    alarm.failed(Unauthenticated("no such key", "TOKEN_INVALID"), "")
    alarm.failed(PermissionDenied("it lacks a scope", "SCOPE_MISSING"), "")
    levels = [record.levelno for record in caplog.records]
    assert levels == [logging.WARNING] + [logging.ERROR] * 3
    clock.now = 9
    for error in (Unavailable("no connection"), Unauthenticated("expired", "TOKEN_EXPIRED")):
        alarm.failed(error, "")  # By turns is nothing new.
    assert len(caplog.records) == 4


def test_the_end_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    alarm = Alarm("recording", clock)
    alarm.worked()
    assert caplog.records == []
    alarm.failed(Unavailable("no connection"), "")
    clock.now = 90
    alarm.worked()
    assert caplog.records[-1].getMessage() == "recording works again, after 90 s"
    alarm.failed(Unavailable("no connection"), "")
    assert caplog.records[-1].getMessage().startswith("recording fails")
