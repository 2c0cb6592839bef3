"""The bearer token of a client, and when to ask its source for another."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

Source = TypeVar("Source")

TokenSource = str | Path | Callable[[], str]
"""A token, or where to get one: a callable, or the path of a file that holds nothing else. It is
asked before the first call, whenever the token at hand is about to expire, and once more when the
service refuses it."""

AsyncTokenSource = str | Path | Callable[[], str | Awaitable[str]]
"""A ``TokenSource`` whose callable may be a coroutine function."""

RENEW_SECONDS = 30
"""A token is renewed this long before it expires."""


def token_source(token: str | Path | Source) -> str | Source | Callable[[], str]:
    """The same, with a callable instead of a path."""
    return partial(token.read_text, "utf-8") if isinstance(token, Path) else token


class CurrentToken:
    """The token in use. A client takes it from here, or calls the source and keeps what it gets."""

    def __init__(self, fixed: str | None) -> None:
        """``fixed`` is a token for ever; None, and every token is one that can be renewed."""
        self._renewable = fixed is None
        self._token = fixed.strip() if fixed is not None else None
        self._renew_at = float("inf")

    def get(self) -> str | None:
        """The token at hand, or None when the source must be asked."""
        return self._token if time.time() < self._renew_at else None

    def keep(self, token: str) -> str:
        """Keeps a token from the source until it is about to expire."""
        self._token = token.strip()
        expiry = claims(self._token).get("exp")
        self._renew_at = (
            expiry - RENEW_SECONDS if isinstance(expiry, (int, float)) else float("inf")
        )
        return self._token

    def refused(self, token: str) -> bool:
        """Forgets a token the service refused. True if the source may have a better one."""
        if self._renewable and self._token == token:
            self._token, self._renew_at = None, 0
        return self._renewable


def claims(token: str) -> dict[str, Any]:
    """What a JWT says, unverified; empty for any other token.

    Good for what concerns the caller alone (when to renew), never for trust.
    """
    try:
        payload = token.split(".")[1]
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
