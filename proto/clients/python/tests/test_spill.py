"""The spill's files: framing, damage, ownership."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from parley_client import _spill
from parley_client._calls import BATCH_BYTES_MAX, BATCH_INTERACTIONS_MAX
from parley_client._spill import Spill

RECORDS = [b"one", b"two two", b"three three three"]
FRAME_BYTES = 8


def token(tenant: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"tenant": tenant}).encode()).decode()
    return f"e30.{claims.rstrip('=')}.signature"


def drain(spill: Spill) -> list[bytes]:
    """Takes everything there is to claim, as the service would."""
    records = []
    while (file := spill.claim()) is not None:
        while batch := file.batch():
            records += batch
            file.settle([])
        file.delete()
        file.release()
    return records


def only_file(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "made" / "on the way", None)
    assert spill.append(RECORDS) == 3
    assert spill.append(RECORDS[:1]) == 1
    assert drain(spill) == [*RECORDS, RECORDS[0]]
    assert drain(spill) == []
    assert list((tmp_path / "made" / "on the way").iterdir()) == []


def test_others_may_not_read_it(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "spill", None)
    spill.append(RECORDS)
    assert (tmp_path / "spill").stat().st_mode & 0o777 == 0o700
    assert only_file(tmp_path / "spill").stat().st_mode & 0o777 == 0o600


def test_full_files_are_followed_by_new_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spill, "FILE_BYTES_MAX", 1000)
    spill = Spill(tmp_path, None)
    sent = [bytes([n]) * 400 for n in range(10)]
    for record in sent:
        spill.append([record])
    assert len(list(tmp_path.iterdir())) == 4
    assert drain(spill) == sent


def test_batches_keep_the_limits(tmp_path: Path) -> None:
    spill = Spill(tmp_path, None)
    spill.append([b"small"] * (BATCH_INTERACTIONS_MAX + 1) + [b"x" * (BATCH_BYTES_MAX // 2)] * 3)
    file = spill.claim()
    assert file is not None
    sizes = []
    while batch := file.batch():
        assert file.batch() == batch
        assert sum(map(len, batch)) <= BATCH_BYTES_MAX
        sizes.append(len(batch))
        file.settle([])
    assert sizes == [BATCH_INTERACTIONS_MAX, 2, 2]


def test_what_is_to_be_retried_comes_last(tmp_path: Path) -> None:
    spill = Spill(tmp_path, None)
    spill.append([b"x"] * BATCH_INTERACTIONS_MAX + [b"y"])
    file = spill.claim()
    assert file is not None
    file.batch()
    file.settle([b"x"])
    assert file.batch() == [b"y"]
    file.settle([])
    assert file.batch() == [b"x"]
    file.settle([])
    assert file.batch() == []


@pytest.mark.parametrize("cut", range(1, FRAME_BYTES + len(RECORDS[2]) + 1))
def test_a_torn_tail(tmp_path: Path, cut: int) -> None:
    spill = Spill(tmp_path, None)
    spill.append(RECORDS)
    path = only_file(tmp_path)
    os.truncate(path, path.stat().st_size - cut)
    assert drain(spill) == RECORDS[:2]


@pytest.mark.parametrize("tail", [bytes(1), bytes(4096), b"\xff" * 4096])
def test_a_tail_of_rubbish(tmp_path: Path, tail: bytes) -> None:
    spill = Spill(tmp_path, None)
    spill.append(RECORDS)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes() + tail)
    assert drain(spill) == RECORDS


def test_a_damaged_record_costs_itself_alone(tmp_path: Path) -> None:
    spill = Spill(tmp_path, None)
    spill.append(RECORDS)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"two two", b"two tvo"))
    file = spill.claim()
    assert file is not None
    assert file.batch() == [RECORDS[0], RECORDS[2]]
    assert file.damaged == 1


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spill = Spill(tmp_path, None)
    spill.append(RECORDS[:1])
    write = os.pwrite

    def full(descriptor: int, data: Any, offset: int) -> int:
        if len(data) <= 5:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:5], offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        spill.append(RECORDS[1:])
    monkeypatch.undo()
    spill.append(RECORDS[2:])
    assert drain(spill) == [RECORDS[0], RECORDS[2]]


def test_a_limit(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 3 * (FRAME_BYTES + 100))
    other = Spill(tmp_path, 3 * (FRAME_BYTES + 100))
    assert spill.append([b"x" * 100] * 2) == 2
    assert other.append([b"x" * 100] * 2) == 1
    assert spill.append([b"x"]) == 0
    assert len(drain(spill)) == 2
    assert other.append([b"x" * 100] * 2) == 2


def test_a_file_has_one_holder(tmp_path: Path) -> None:
    writer, reader = Spill(tmp_path, None), Spill(tmp_path, None)
    writer.append(RECORDS)
    assert reader.claim() is None
    writer.seal()
    file = reader.claim()
    assert file is not None
    assert writer.claim() is None
    file.release()
    assert drain(writer) == RECORDS
    assert reader.claim() is None


def test_a_file_that_others_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = Spill(tmp_path, None), Spill(tmp_path, None)
    writer.append(RECORDS)
    writer.seal()
    hold = _spill._hold

    def late(descriptor: int) -> bool:
        # Between opening and locking, the other process sends the file and deletes it.
        monkeypatch.undo()
        assert drain(writer) == RECORDS
        return hold(descriptor)

    monkeypatch.setattr(_spill, "_hold", late)
    assert reader.claim() is None


def test_a_new_file_that_others_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = Spill(tmp_path, None), Spill(tmp_path, None)
    hold = _spill._hold

    def late(descriptor: int) -> bool:
        # Between creating and locking, the other process takes it for a dead one's.
        monkeypatch.undo()
        assert drain(reader) == []
        return hold(descriptor)

    monkeypatch.setattr(_spill, "_hold", late)
    writer.append(RECORDS)
    writer.seal()
    assert drain(reader) == RECORDS


def test_tenants_leave_each_other_alone(tmp_path: Path) -> None:
    a, b, unnamed = (Spill(tmp_path, None) for _ in range(3))
    assert a.own(token("a")) == token("a")
    b.own(token("b"))
    unnamed.own("not a JWT")
    a.append([b"a"])
    b.append([b"b"])
    unnamed.append([b"anyone's"])
    for spill in (a, b, unnamed):
        spill.seal()
    assert sorted(drain(b)) == [b"anyone's", b"b"]
    assert drain(unnamed) == []
    assert drain(a) == [b"a"]


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("README", "x.spill", ".spill", "a.b.c"):
        (tmp_path / name).write_text("mine")
    assert drain(Spill(tmp_path, None)) == []
    assert len(list(tmp_path.iterdir())) == 4


def drain_in_a_process(directory: Path, taken: Any) -> None:
    taken.put(drain(Spill(directory, None)))


def test_many_processes_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spill, "FILE_BYTES_MAX", 100)
    spill = Spill(tmp_path, None)
    sent = [b"%020d" % n for n in range(300)]
    for record in sent:
        spill.append([record] * 5)
    spill.seal()
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    processes = [
        context.Process(target=drain_in_a_process, args=(tmp_path, taken)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    records = [record for _ in processes for record in taken.get(timeout=60)]
    for process in processes:
        process.join()
    assert sorted(records) == sorted(sent * 5)
    assert list(tmp_path.iterdir()) == []
