"""How a channel to the service is opened: addresses, TLS, retries."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc


@dataclass(frozen=True)
class TLS:
    """Encrypts the connection and checks the service's certificate. Everything is PEM.

    ``root_certificates`` are whom to trust, by default the ones gRPC brings along. With
    ``certificate_chain`` and ``private_key`` the client shows a certificate of its own (mTLS).
    ``server_name`` is the name the service's certificate must bear, by default the address's host.
    """

    root_certificates: bytes | None = None
    certificate_chain: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None

    @classmethod
    def from_files(
        cls,
        root_certificates: str | Path | None = None,
        certificate_chain: str | Path | None = None,
        private_key: str | Path | None = None,
        server_name: str | None = None,
    ) -> TLS:
        """The same from paths. Raises OSError for a file that cannot be read."""

        def read(file: str | Path | None) -> bytes | None:
            return None if file is None else Path(file).read_bytes()

        return cls(read(root_certificates), read(certificate_chain), read(private_key), server_name)


# Only UNAVAILABLE: nothing else says that trying the same again may help. Every call is safe to
# repeat, since ids are made before the first try. The service's own RetryInfo is for callers.
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "parley.v1.InteractionService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.1s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.primary_user_agent", f"parley-client-python/{version('parley-client')}"),
    # gRPC would wait up to two minutes before it looks again for a service that came back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # Connections of one's own: closing a client ends them, a new client starts on a new one.
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(library: Any, address: str, tls: TLS | None) -> Any:
    """A channel to ``address``; it connects when first used.

    ``library`` is ``grpc`` or ``grpc.aio``, which open channels alike. Raises ValueError for an
    address that is neither ``unix:PATH`` nor ``HOST:PORT``.
    """
    target = grpc_target(address)
    if tls is None:
        return library.insecure_channel(target, _OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        tls.root_certificates, tls.private_key, tls.certificate_chain
    )
    name = (("grpc.ssl_target_name_override", tls.server_name),) if tls.server_name else ()
    return library.secure_channel(target, credentials, _OPTIONS + name)


def grpc_target(address: str) -> str:
    """A Parley address as gRPC writes it. Raises ValueError for what is no address."""
    scheme, _, path = address.partition(":")
    if scheme == "unix" and path:
        # gRPC reads a URI: a space or a % in a path must be escaped.
        return f"unix:{quote(path)}"
    host, _, port = address.rpartition(":")
    named = host and "/" not in host and (":" not in host or host.startswith("["))
    if not (named and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"{address!r} is no address; allowed are unix:PATH and HOST:PORT")
    return f"dns:///{address}"
