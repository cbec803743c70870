"""The code on message pages, run unchanged against a real nats-server."""

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
from httpx import ASGITransport, AsyncClient
from nats.aio.client import Client

from apps.users.models import EmailRules, User
from apps.users.requests import router
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_EVENTS
from kit.messaging.broker import Broker
from kit.messaging.streams import provision
from kit.runtime.clock import SYSTEM_CLOCK
from kit.runtime.depends import DEPENDENCIES
from mkstore.stack.servers import NatsServer
from mkstore.testing.fakes.users import FakeUsers, UsersData
from tests.support.html_page import Page
from tests.support.polling import eventually
from tests.support.portal_examples import SYSTEM
from tests.support.portal_host import host

MESSAGES = SYSTEM["components"]["messages"]
CALLS = (".request(", ".publish(", ".pull_subscribe(")
DURABLE = "my-service-payment_created"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server without stored messages, so that no example is a duplicate."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    client = await nats.connect(server.url)
    await provision(client.jetstream(), [KEYED_PAYMENT_COMMANDS, PAYMENT_EVENTS])
    yield client
    await client.close()


def example(name: str) -> dict[str, Any]:
    example: dict[str, Any] = MESSAGES[name]["examples"][0]
    return example


async def snippets_of(name: str) -> tuple[list[str], list[str]]:
    """Return the Python and the shell code on a message's page."""
    async with AsyncClient(transport=ASGITransport(host()), base_url="http://portal.test") as http:
        page = Page((await http.get(f"/asyncapi/messages/{name}")).text)
    return page.snippets["python"], page.snippets["shell"]


async def snippet_of(name: str) -> str:
    (snippet,), _ = await snippets_of(name)
    return snippet


@asynccontextmanager
async def running(name: str, server: NatsServer) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a message's snippet with only `NATS_URL` set, until the block ends."""
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


async def output_of(name: str, server: NatsServer) -> str:
    """Run a message's snippet to its end and return its output."""
    async with running(name, server) as process:
        output, _ = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, output.decode()
        return output.decode().strip()


@asynccontextmanager
async def users(server: NatsServer, *known: User) -> AsyncIterator[None]:
    """Run the users service with users in memory."""
    broker = Broker(server.url, name="users")
    broker.include_router(router)
    read_users = partial(FakeUsers, UsersData(users={user.id: user for user in known}))
    broker.context.set_global(
        DEPENDENCIES,
        SimpleNamespace(
            read_users=read_users,
            open_users=read_users,
            passwords=None,
            revocations=None,
            email_rules=EmailRules(),
            clock=SYSTEM_CLOCK,
        ),
    )
    async with broker:
        await broker.start()
        await broker.check()  # a round trip: after it, the server knows the subscriptions
        yield


async def test_event_code_consumes_each_event_durably_and_once(server: NatsServer, client: Client) -> None:
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
        assert line.decode() == f"two {event['payload']}\n"  # not the first event again


async def test_request_code_reads_the_reply(server: NatsServer, client: Client) -> None:
    view = MESSAGES["UserView"]["examples"][0]["payload"]
    fields = {key: view[key] for key in ("email", "name", "role", "disabled", "version")}
    times = {"created_at": view["createdAt"], "updated_at": view["updatedAt"]}
    user = User.model_validate({**fields, **times, "id": UUID(example("GetUsers")["payload"]["ids"][0])})
    reply = {"users": [view]}
    async with users(server, user):
        assert await output_of("GetUsers", server) == f"UserList: {reply}"


async def test_request_code_reads_a_problem_and_detects_missing_responders(server: NatsServer, client: Client) -> None:
    async with users(server):
        refused = await output_of("UpdateUser", server)
    assert refused.startswith("refused: user-not-found ")
    assert await output_of("GetUsers", server) == "unavailable: no process replies; retry later"


async def test_command_code_waits_until_the_command_is_stored(server: NatsServer, client: Client) -> None:
    command = example("CreatePayment")
    assert await output_of("CreatePayment", server) == "stored in KEYED_PAYMENT_COMMANDS as 1"
    assert await output_of("CreatePayment", server) == "stored in KEYED_PAYMENT_COMMANDS as 2"
    stored = await client.jetstream().get_msg("KEYED_PAYMENT_COMMANDS", seq=1)
    assert stored.subject == f"payments.create.key.{command['payload']['id']}"
    assert json.loads(stored.data or b"") == command["payload"]


@pytest.mark.parametrize("name", sorted(MESSAGES))
async def test_a_message_has_the_code_of_its_kind(name: str) -> None:
    python, shell = await snippets_of(name)
    for snippet in python:
        compile(snippet, name, "exec")
    calls = [call for call in CALLS if any(call in snippet for snippet in python)]
    assert (calls, len(python), len(shell)) == {
        "request": ([".request("], 1, 1),
        "command": ([".publish("], 1, 1),
        "event": ([".pull_subscribe("], 1, 1),
        "state": ([], 0, 1),
        "dead-letter": ([], 0, 1),
        "reply": ([], 0, 0),
        "problem": ([], 0, 0),
    }[MESSAGES[name]["tags"][0]["name"]]
