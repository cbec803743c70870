"""A service in a thread that replies to requests on a real nats-server, for commands that run their own event loop."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from contracts.base import Message, Request
from contracts.headers import SERVICE_ERROR, SERVICE_ERROR_CODE
from kit.errors import Refusal

Answer = Callable[[Any], Message | Refusal]


@contextmanager
def replying(url: str, answers: Mapping[type[Request[Any]], Answer]) -> Iterator[list[Request[Any]]]:
    """Reply to these requests until the block ends; yield the requests that arrived."""
    received: list[Request[Any]] = []
    ready = threading.Event()
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        client = Client()
        await client.connect(url)
        for request, answer in answers.items():
            await client.subscribe(request.subject, cb=_replier(client, request, answer, received))
        await client.flush()
        ends.append((asyncio.get_running_loop(), asyncio.Event()))
        ready.set()
        await ends[0][1].wait()
        await client.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield received
    finally:
        for loop, end in ends:
            loop.call_soon_threadsafe(end.set)
        thread.join()


def _replier(client: Client, request: type[Request[Any]], answer: Answer, received: list[Request[Any]]) -> Any:
    async def reply(message: Msg) -> None:
        received.append(request.model_validate_json(message.data))
        result, headers = answer(received[-1]), {"content-type": "application/json"}
        if isinstance(result, Refusal):
            result = result.problem()
            headers |= {SERVICE_ERROR: result.slug, SERVICE_ERROR_CODE: result.kind.value}
        await client.publish(message.reply, result.model_dump_json().encode(), headers=headers)

    return reply
