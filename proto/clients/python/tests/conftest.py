"""What every test stands on: a running Parley, told by the environment, and nothing else.

    PARLEY_ADDRESS             HOST:PORT
    PARLEY_UNIX_ADDRESS        unix:PATH
    PARLEY_REFLECTION_ADDRESS  HOST:PORT of one that was started with --reflection
    PARLEY_TOKEN               tenant A, interactions:record and analytics:view
    PARLEY_READ_TOKEN          tenant A, analytics:view
    PARLEY_OTHER_TOKEN         tenant B, both scopes

The service keeps what it is given, so every test records under a conversation of its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from proxy import Proxy

from parley_client import Interaction, InteractionFilter, ParleyClient


@dataclass(frozen=True)
class Service:
    """The Parley under test."""

    address: str
    unix_address: str
    reflection_address: str
    token: str
    read_token: str
    other_token: str


@pytest.fixture(scope="session")
def service() -> Service:
    def needed(name: str) -> str:
        value = os.environ.get(name)
        if not value:
            pytest.fail(
                f"{name} is not set: these tests need a running Parley; see tests/conftest.py",
                pytrace=False,
            )
        return value

    return Service(
        address=needed("PARLEY_ADDRESS"),
        unix_address=needed("PARLEY_UNIX_ADDRESS"),
        reflection_address=needed("PARLEY_REFLECTION_ADDRESS"),
        token=needed("PARLEY_TOKEN"),
        read_token=needed("PARLEY_READ_TOKEN"),
        other_token=needed("PARLEY_OTHER_TOKEN"),
    )


@pytest.fixture
def conversation() -> str:
    """A conversation nobody else records under."""
    return f"python-{uuid.uuid4()}"


@pytest.fixture
def proxy(service: Service) -> Iterator[Proxy]:
    """The service at an address where it can go away and come back."""
    with Proxy(service.address) as proxy:
        yield proxy


@pytest.fixture
def recorded(service: Service, conversation: str) -> Iterator[Callable[[], list[Interaction]]]:
    """What the service has of the test's conversation, newest first, asked past any proxy."""
    with ParleyClient(service.address, service.token) as parley:
        wanted = InteractionFilter(conversation_id=conversation)
        yield lambda: list(parley.list(wanted, full=True, page_size=200))
