"""Fake services that answer discovery requests on NATS."""

import asyncio
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from nats.aio.client import Client
from nats.aio.msg import Msg

from mkstore.services import SERVICES
from tests.conftest import ROOT


class FakeServices:
    """Answers `$SRV.INFO` for what is in `processes`: pairs of a service's name and of its document's hash."""

    def __init__(self) -> None:
        self.processes = [(spec.name, documented(spec.name)) for spec in SERVICES]

    async def answer(self, message: Msg) -> None:
        for name, sha256 in self.processes:
            identity = {"name": name, "id": uuid4().hex, "version": "0.1.0", "metadata": {"asyncapi.sha256": sha256}}
            info = {"type": "io.nats.micro.v1.info_response", **identity, "description": "", "endpoints": []}
            await message.respond(json.dumps(info).encode())


def documented(service: str) -> str:
    """Return the hash of a service's committed document."""
    return hashlib.sha256((ROOT / f"asyncapi/{service}.json").read_bytes()).hexdigest()


@contextmanager
def fake_services(url: str) -> Iterator[FakeServices]:
    """Answer for every service until the end of the block."""
    services, ready, done = FakeServices(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        client = Client()
        await client.connect(url, allow_reconnect=False)
        await client.subscribe("$SRV.INFO", cb=services.answer)
        for _ in range(2):  # nats-py's first PING may overtake buffered data
            await client.flush()
        ready.set()
        await done.wait()
        await client.close()

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield services
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()
