"""An agent inside a server or a worker, as users write it: a recorder made where the module is.

SERVED_ADDRESS, SERVED_DIRECTORY and SERVED_CONVERSATION are what the recorder is made of, with
PARLEY_TOKEN. Each request or task records one interaction and appends its id to the file
SERVED_IDS. ``wsgi`` is for gunicorn, ``asgi`` for uvicorn, ``celery`` for celery, whose broker is
the directory SERVED_BROKER.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from parley_client import BackgroundRecorder, Interaction

recorder = BackgroundRecorder(
    os.environ["SERVED_ADDRESS"], os.environ["PARLEY_TOKEN"], os.environ["SERVED_DIRECTORY"]
)


def record() -> bytes:
    interaction = Interaction(conversation_id=os.environ["SERVED_CONVERSATION"])
    id = recorder.record(interaction).encode()
    descriptor = os.open(os.environ["SERVED_IDS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, id + b"\n")
    os.close(descriptor)
    return id


def wsgi(_: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    start_response("200 OK", [("content-length", "36")])
    return [record()]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        record()  # Nothing of it is run later than this.
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"36")]}
    )
    await send({"type": "http.response.body", "body": record()})


if "SERVED_BROKER" in os.environ:
    from celery import Celery

    folder = os.environ["SERVED_BROKER"]
    celery = Celery("served", broker="filesystem://")
    celery.conf.broker_transport_options = {
        "data_folder_in": folder,
        "data_folder_out": folder,
        "control_folder": folder,
        "polling_interval": 0.05,
    }

    @celery.task(name="turn")  # type: ignore[untyped-decorator]
    def turn() -> None:
        record()
