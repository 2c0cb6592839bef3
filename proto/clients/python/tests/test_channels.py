"""Addresses, and TLS ended before the service."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from conftest import Service
from proxy import Proxy

from parley_client import TLS, Interaction, ParleyClient, Unavailable
from parley_client._channels import grpc_target


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("localhost:50051", "dns:///localhost:50051"),
        ("127.0.0.1:1", "dns:///127.0.0.1:1"),
        ("[::1]:50051", "dns:///[::1]:50051"),
        ("unix:/run/parley.sock", "unix:/run/parley.sock"),
        ("unix:parley.sock", "unix:parley.sock"),
        ("unix:/tmp/a b%20.sock", "unix:/tmp/a%20b%2520.sock"),
    ],
)
def test_addresses(address: str, target: str) -> None:
    assert grpc_target(address) == target


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost",
        "localhost:",
        ":50051",
        "localhost:http",
        "localhost:65536",
        "unix:",
        "::1:50051",
        "http://localhost:50051",
        "localhost:50051/",
    ],
)
def test_no_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="no address"):
        ParleyClient(address, "token")


def test_a_path_with_spaces(service: Service, tmp_path: Path, conversation: str) -> None:
    link = tmp_path / "a b%20#?.sock"
    link.symlink_to(service.unix_address.removeprefix("unix:"))
    with ParleyClient(f"unix:{link}", service.token) as parley:
        parley.record(Interaction(conversation_id=conversation))


@dataclass(frozen=True)
class Encrypted:
    """The service behind TLS that asks for a client's certificate."""

    address: str
    roots: bytes
    chain: bytes
    key: bytes


@pytest.fixture
def encrypted(service: Service) -> Iterator[Encrypted]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("parley.test").configure_cert(context)
    client = authority.issue_cert("agent.test")
    with Proxy(service.address, tls=context) as proxy:
        yield Encrypted(
            proxy.address,
            authority.cert_pem.bytes(),
            client.cert_chain_pems[0].bytes(),
            client.private_key_pem.bytes(),
        )


def test_mutual_tls(
    service: Service, encrypted: Encrypted, tmp_path: Path, conversation: str
) -> None:
    tls = TLS(encrypted.roots, encrypted.chain, encrypted.key, server_name="parley.test")
    with ParleyClient(encrypted.address, service.token, tls=tls) as parley:
        parley.record(Interaction(conversation_id=conversation))

    roots, chain, key = (tmp_path / name for name in ("roots.pem", "chain.pem", "key.pem"))
    roots.write_bytes(encrypted.roots)
    chain.write_bytes(encrypted.chain)
    key.write_bytes(encrypted.key)
    assert TLS.from_files(roots, chain, key, "parley.test") == tls
    assert str(encrypted.key) not in repr(tls)


def test_a_certificate_that_is_not_trusted(service: Service, encrypted: Encrypted) -> None:
    for tls in (
        TLS(encrypted.roots, encrypted.chain, encrypted.key, server_name="other.test"),
        TLS(None, encrypted.chain, encrypted.key, server_name="parley.test"),
        TLS(encrypted.roots, server_name="parley.test"),
    ):
        client = ParleyClient(encrypted.address, service.token, tls=tls, timeout=30)
        with client as parley, pytest.raises(Unavailable):
            parley.stats()
