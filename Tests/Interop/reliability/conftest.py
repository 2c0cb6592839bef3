"""Clients and tokens for the reliability tests.

PARLEY_BINARY and PARLEY_DATA name the command and the data folder of the server under test, which mint a token for
each tenant. PARLEY_ADDRESS and PARLEY_UNIX_ADDRESS are where the server listens.
"""

import os
import subprocess
import uuid
from dataclasses import dataclass

import grpc
import pytest

from parley.v1.interactions_pb2_grpc import InteractionServiceStub


@dataclass
class Tenant:
    """A tenant of one test's own, with a stub that speaks for it."""

    stub: InteractionServiceStub
    channel: grpc.Channel
    metadata: list


def target(address):
    return address if address.startswith("unix:") else f"dns:///{address}"


@pytest.fixture
def token():
    def mint(tenant):
        command = [os.environ["PARLEY_BINARY"], "token", "--data", os.environ["PARLEY_DATA"], "--tenant", tenant]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return mint


@pytest.fixture
def tenants(token):
    """Makes tenants that no other test knows. Channel options are gRPC's own."""
    channels = []

    def make(address=None, options=(), name=None):
        channel = grpc.insecure_channel(target(address or os.environ["PARLEY_ADDRESS"]), options=list(options))
        channels.append(channel)
        name = name or f"reliability-{uuid.uuid4()}"
        return Tenant(InteractionServiceStub(channel), channel, [("authorization", f"Bearer {token(name)}")])

    yield make
    for channel in channels:
        channel.close()


@pytest.fixture
def tenant(tenants):
    return tenants()
