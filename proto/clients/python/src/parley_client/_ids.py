"""UUIDv7 ids, made before the first try so that every retry finds itself."""

from __future__ import annotations

import os
import time
from uuid import UUID

from parley.v1.interactions_pb2 import Interaction

_MILLISECONDS_END = 1 << 48


def uuid7(milliseconds: int | None = None) -> UUID:
    """A new UUIDv7 (RFC 9562, section 5.7): 48 bits of time, 74 random ones.

    ``milliseconds`` since 1970 are its time; the present by default. Raises ValueError when they
    do not fit 48 bits.
    """
    if milliseconds is None:
        milliseconds = time.time_ns() // 1_000_000
    if not 0 <= milliseconds < _MILLISECONDS_END:
        raise ValueError(f"{milliseconds} ms since 1970 do not fit a UUIDv7")
    random = int.from_bytes(os.urandom(10), "big")
    low_12, low_62 = random >> 68, random & ((1 << 62) - 1)
    return UUID(int=milliseconds << 80 | 7 << 76 | low_12 << 64 | 0b10 << 62 | low_62)


def ensure_id(interaction: Interaction) -> str:
    """The interaction's id, filled in where it is empty, at the time of its ``created_at`` or now.

    A ``created_at`` that no id can hold gets an id of now: the service refuses it and says why.
    """
    if not interaction.id:
        milliseconds = None
        if interaction.HasField("created_at"):
            created = interaction.created_at
            milliseconds = created.seconds * 1000 + created.nanos // 1_000_000
            if not 0 <= milliseconds < _MILLISECONDS_END:
                milliseconds = None
        interaction.id = str(uuid7(milliseconds))
    return interaction.id
