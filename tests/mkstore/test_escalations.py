"""What a stolen login of a service could gain by changing a stream, by creating a consumer or by reading a stream."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from nats.js.api import RePublish, StreamConfig

from contracts.consumers import durables
from contracts.logins import IMPORTED_API, JETSTREAM_API
from contracts.streams import PAYMENT_COMMANDS, PAYMENT_EVENTS, STREAMS, USER_EVENTS, Stream
from kit.messaging import streams
from mkstore.stack.servers import NatsServer
from tests.mkstore.conftest import NAMES, Connection
from tests.support.service_processes import connect

APIS = (JETSTREAM_API, IMPORTED_API)
Change = Callable[[StreamConfig], StreamConfig]


def stores_passwords(config: StreamConfig) -> StreamConfig:
    """Let a stream of events keep the requests of those who sign in."""
    return config.evolve(subjects=["user.*", "users.authenticate", "users.change_password"])


def forges_requests(config: StreamConfig) -> StreamConfig:
    """Let the server publish what the login may not."""
    return config.evolve(republish=RePublish(src="user.updated", dest="payments.reject"))


def loses_payments(config: StreamConfig) -> StreamConfig:
    """Let accepted payments expire."""
    return config.evolve(max_age=0.2)


async def expect_unchanged(server: NatsServer) -> None:
    """Fail unless every stream and consumer is as it was provisioned."""
    async with connect(server.admin_url) as broker:
        await streams.check(broker.jetstream, STREAMS)
        for stream in STREAMS:
            expected = {each.name for each in durables() if each.stream == stream}
            assert {each.name for each in await broker.jetstream.consumers_info(stream.name)} == expected


@pytest.mark.parametrize(
    ("stream", "change"),
    [(USER_EVENTS, stores_passwords), (USER_EVENTS, forges_requests), (PAYMENT_COMMANDS, loses_payments)],
)
@pytest.mark.parametrize("verb", ["UPDATE", "CREATE"])
@pytest.mark.parametrize("connection", NAMES, indirect=True)
async def test_service_may_not_change_a_stream(
    server: NatsServer, connection: Connection, verb: str, stream: Stream, change: Change
) -> None:
    body = json.dumps(change(streams.stream_config(stream)).as_dict()).encode()
    for prefix in APIS:
        await connection.client.publish(f"{prefix}.STREAM.{verb}.{stream.name}", body)
        assert "permissions violation for publish" in (await connection.error()).lower()
    await expect_unchanged(server)


@pytest.mark.parametrize("deliver_subject", ["payments.reject", None])
@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
@pytest.mark.parametrize("connection", NAMES, indirect=True)
async def test_service_may_not_create_a_consumer(
    server: NatsServer, connection: Connection, stream: Stream, deliver_subject: str | None
) -> None:
    """One with a `deliver_subject` would make the server publish there; any other would read what the login may not."""
    names = [each.name for each in durables() if each.stream == stream] or ["mine"]
    for name in names:
        config: dict[str, Any] = {"ack_policy": "none", "name": name, "durable_name": name}
        body = json.dumps(
            {"stream_name": stream.name, "config": config | {"deliver_subject": deliver_subject}}
        ).encode()
        for subject in (
            f"CREATE.{stream.name}",
            f"CREATE.{stream.name}.{name}",
            f"CREATE.{stream.name}.{name}.{stream.subjects[0]}",
            f"DURABLE.CREATE.{stream.name}.{name}",
        ):
            for prefix in APIS:
                await connection.client.publish(f"{prefix}.CONSUMER.{subject}", body)
                assert "permissions violation for publish" in (await connection.error()).lower()
    await expect_unchanged(server)


@pytest.mark.parametrize(
    ("connection", "stream"),
    [("users", USER_EVENTS), ("payments", PAYMENT_EVENTS), ("payments", USER_EVENTS)],
    indirect=["connection"],
)
async def test_service_may_not_read_the_events_that_it_writes_or_pulls(connection: Connection, stream: Stream) -> None:
    for subject in ("DIRECT.GET.{}", "DIRECT.GET.{}.user.created", "STREAM.MSG.GET.{}"):
        await connection.client.publish(f"{IMPORTED_API}.{subject.format(stream.name)}", b"{}")
        assert "permissions violation for publish" in (await connection.error()).lower()


async def test_events_can_be_neither_deleted_nor_purged_by_anybody(server: NatsServer) -> None:
    async with connect(server.admin_url) as broker:
        for stream in (USER_EVENTS, PAYMENT_EVENTS):
            for request in (f"PURGE.{stream.name}", f"MSG.DELETE.{stream.name}"):
                reply = await broker.client.request(f"$JS.API.STREAM.{request}", b'{"seq": 1}')
                assert "not permitted" in json.loads(reply.data)["error"]["description"]
            config = streams.stream_config(stream.model_copy(update={"append_only": False}))
            body = json.dumps(config.as_dict()).encode()
            reply = await broker.client.request(f"$JS.API.STREAM.UPDATE.{stream.name}", body)
            assert "can not cancel deny" in json.loads(reply.data)["error"]["description"]
        await asyncio.gather(*(streams.check(broker.jetstream, [stream]) for stream in STREAMS))
