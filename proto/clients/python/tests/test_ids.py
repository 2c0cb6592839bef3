"""UUIDv7s as RFC 9562 has them."""

from __future__ import annotations

import time

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from parley_client import Interaction, uuid7
from parley_client._ids import ensure_id


def milliseconds(id: str) -> int:
    return int(id.replace("-", "")[:12], 16)


def test_version_variant_and_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [uuid7() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    for id in ids:
        assert id.version == 7
        assert id.variant == "specified in RFC 4122"
        assert before <= milliseconds(str(id)) <= after


def test_every_free_bit_is_random() -> None:
    seen_one = seen_zero = 0
    for _ in range(200):
        value = uuid7(0).int
        seen_one |= value
        seen_zero |= ~value
    free = ((1 << 12) - 1) << 64 | (1 << 62) - 1
    assert seen_one & seen_zero & ((1 << 80) - 1) == free


def test_a_given_time() -> None:
    # The example of RFC 9562, A.6.
    assert str(uuid7(0x017F22E279B0)).startswith("017f22e2-79b0-7")
    assert milliseconds(str(uuid7(2**48 - 1))) == 2**48 - 1
    for outside in (-1, 2**48):
        with pytest.raises(ValueError, match="do not fit"):
            uuid7(outside)


def test_an_id_agrees_with_created_at() -> None:
    created = Timestamp(seconds=1_700_000_000, nanos=123_999_999)
    interaction = Interaction(created_at=created)
    assert milliseconds(ensure_id(interaction)) == 1_700_000_000_123
    assert interaction.created_at == created


def test_an_id_is_kept() -> None:
    interaction = Interaction()
    assert ensure_id(interaction) == ensure_id(interaction) == interaction.id


def test_a_created_at_no_id_can_hold_is_left_to_the_service() -> None:
    interaction = Interaction(created_at=Timestamp(seconds=-1))
    assert abs(milliseconds(ensure_id(interaction)) - time.time() * 1000) < 60_000
