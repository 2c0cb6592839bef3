"""When a token is kept, renewed and forgotten."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from parley_client._tokens import RENEW_SECONDS, CurrentToken, claims


def jwt(**said: Any) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    return f"e30.{payload}.signature"


def test_claims() -> None:
    assert claims(jwt(tenant="Grüße?>", exp=5)) == {"tenant": "Grüße?>", "exp": 5}


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", "a.é.c", "e30.W10.c", "e30.Mw.c", ".."])
def test_no_claims(token: str) -> None:
    assert claims(token) == {}


def test_a_fixed_token_is_used_to_the_end() -> None:
    token = CurrentToken(jwt(exp=0) + "\n")
    assert token.get() == jwt(exp=0)
    assert not token.refused(jwt(exp=0))
    assert token.get() == jwt(exp=0)


def test_a_token_is_renewed_before_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    token = CurrentToken(None)
    assert token.get() is None
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    assert token.keep(jwt(exp=now + RENEW_SECONDS + 1) + "\n") == token.get()
    now += 1.1
    assert token.get() is None


def test_a_token_without_an_expiry_is_kept_until_refused() -> None:
    token = CurrentToken(None)
    token.keep("opaque")
    assert token.get() == "opaque"
    assert token.refused("another, used by a call that began earlier")
    assert token.get() == "opaque"
    assert token.refused("opaque")
    assert token.get() is None
