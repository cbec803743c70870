"""The code on the messages' pages: copied from there as it stands, and run against a real server."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import nats
import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from nats.aio.client import Client

import portal
from apps.users.models import User
from apps.users.requests import router
from contracts.streams import PAYMENT_COMMANDS, PAYMENT_EVENTS
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from kit.runtime.depends import DEPENDENCIES
from mkstore.stack.servers import NatsServer
from portal.documents import FOLDER
from tests.support.html_page import Page
from tests.support.polling import eventually
from tests.support.users_fakes import FakeUsers, Store

WHOLE: dict[str, Any] = json.loads((FOLDER / "mkstore.json").read_bytes())
MESSAGES = WHOLE["components"]["messages"]
DURABLE = "my-service-payment_created"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server that knows none of the examples' ids yet."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url)
    await provision(client.jetstream(), [PAYMENT_COMMANDS, PAYMENT_EVENTS])
    yield client
    await client.close()


def example(name: str) -> dict[str, Any]:
    found: dict[str, Any] = MESSAGES[name]["examples"][0]
    return found


async def snippet_of(name: str) -> str:
    """Copy the Python code from a message's page."""
    app = FastAPI()
    app.include_router(portal.router)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://portal.test") as http:
        (found,) = Page((await http.get(f"/asyncapi/messages/{name}")).text).snippets
    return found


@asynccontextmanager
async def running(name: str, server: NatsServer) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a message's snippet with nothing but `NATS_URL`, until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-c", await snippet_of(name)),
        env={"NATS_URL": server.url, "PATH": os.defpath},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def said(name: str, server: NatsServer) -> str:
    """Run a message's snippet to its end."""
    async with running(name, server) as process:
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, output.decode()
        return output.decode().strip()


@asynccontextmanager
async def users(server: NatsServer, *known: User) -> AsyncIterator[None]:
    """Answer as the users service does, out of memory."""
    broker = Broker(server.url, name="users")
    broker.include_router(router)
    read_users = partial(FakeUsers, Store(users={user.id: user for user in known}))
    broker.context.set_global(DEPENDENCIES, SimpleNamespace(read_users=read_users))
    async with broker:
        await broker.start()
        await broker.check()  # a round trip: until then the subscriptions may not have reached the server
        yield


async def test_the_code_of_an_event_takes_each_durably_and_once(server: NatsServer, client: Client) -> None:
    stream, event = client.jetstream(), example("PaymentCreated")

    async def send(event_id: str) -> None:
        headers = event["headers"] | {"ce-id": event_id, "Nats-Msg-Id": event_id}
        del headers["Nats-Expected-Last-Sequence"]
        await stream.publish("payment.created", json.dumps(event["payload"]).encode(), headers=headers)

    async def acked() -> int:
        info = await stream.consumer_info(PAYMENT_EVENTS.name, DURABLE)
        return info.ack_floor.stream_seq if info.ack_floor else 0

    await send("one")
    async with running("PaymentCreated", server) as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        assert line.decode() == f"one {event['payload']}\n"
        await eventually(acked)
    await send("two")
    async with running("PaymentCreated", server) as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 20)
        assert line.decode() == f"two {event['payload']}\n"  # and not the first one again


async def test_the_code_of_a_request_reads_the_reply(server: NatsServer, client: Client) -> None:
    view = MESSAGES["UserView"]["examples"][0]["payload"]
    fields = {key: view[key] for key in ("email", "name", "role", "disabled", "version")}
    times = {"created_at": view["createdAt"], "updated_at": view["updatedAt"]}
    user = User.model_validate({**fields, **times, "id": UUID(example("GetUser")["payload"]["id"])})
    async with users(server, user):
        assert await said("GetUser", server) == f"UserView: {view}"


async def test_the_code_of_a_request_reads_the_refusal_and_that_nobody_answers(
    server: NatsServer, client: Client
) -> None:
    async with users(server):
        refused = await said("GetUser", server)
    assert refused.startswith("refused: user-not-found ")
    assert await said("GetUser", server) == "unavailable: nobody answers now; ask again later"


async def test_the_code_of_a_command_knows_that_it_is_kept(server: NatsServer, client: Client) -> None:
    command = example("CreatePayment")
    assert await said("CreatePayment", server) == "kept in PAYMENT_COMMANDS as 1"
    assert await said("CreatePayment", server) == "kept in PAYMENT_COMMANDS as 1 (it was there already)"
    kept = await client.jetstream().get_msg("PAYMENT_COMMANDS", seq=1)
    assert kept.subject == f"payments.create.{command['payload']['id']}"
    assert json.loads(kept.data or b"") == command["payload"]
    assert (kept.headers or {})["Nats-Msg-Id"] == command["headers"]["Nats-Msg-Id"]


@pytest.mark.parametrize("name", sorted(MESSAGES))
async def test_every_message_that_can_be_sent_or_taken_has_code_that_is_python(name: str) -> None:
    kind = MESSAGES[name]["tags"][0]["name"]
    if kind in {"request", "command", "event"}:
        compile(await snippet_of(name), name, "exec")
