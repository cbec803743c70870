"""The NATS login that may only look, for the portal's live figures."""

import json

import pytest

from contracts.logins import IMPORTED_API, WATCHER
from contracts.payments import CreatePayment
from contracts.streams import PAYMENT_EVENTS, STREAMS
from kit.asyncapi.reader import DocumentReader, wildcard_subject
from mkstore import generated
from mkstore.services import SERVICES
from mkstore.stack.servers import NatsServer
from portal.live import SystemMonitor
from tests.mkstore.conftest import Connection
from tests.support.service_processes import connect

watcher = pytest.mark.parametrize("connection", [WATCHER], indirect=True)


def sent_by_services() -> set[str]:
    """Return every subject of the documents, with `x` for what varies."""
    document = json.loads((generated.ROOT / "asyncapi/mkstore.json").read_text("utf-8"))
    addresses = [channel.address for channel in DocumentReader(document).channels.values() if channel.address]
    return {wildcard_subject(address).replace("*", "x").replace(">", "x") for address in addresses}


async def test_watcher_sees_streams_consumers_and_messages(server: NatsServer) -> None:
    async with connect(server.admin_url) as broker:
        await broker.jetstream.publish("payment.created", b'{"id": 7}')
    monitor = SystemMonitor(server.url_as(WATCHER, server.port), STREAMS, bodies=True, api_prefix=IMPORTED_API)
    snapshot = await monitor.snapshot()
    await monitor.close()
    assert [stream.name for stream in snapshot.streams] == [stream.name for stream in STREAMS]
    (events,) = [stream for stream in snapshot.streams if stream.name == PAYMENT_EVENTS.name]
    assert events.last[-1].body == {"id": 7}
    assert any(stream.consumers for stream in snapshot.streams)


@watcher
async def test_watcher_may_publish_nothing(connection: Connection) -> None:
    subjects = sent_by_services()
    assert {"users.authenticate", "payment.created", "public_keys.current"} <= subjects
    for subject in sorted(subjects):
        await connection.client.publish(subject, b"{}")
        assert "permissions violation for publish" in (await connection.error()).lower(), subject


@watcher
async def test_watcher_may_change_nothing(connection: Connection) -> None:
    for stream in STREAMS:
        for request in ("STREAM.UPDATE", "STREAM.PURGE", "STREAM.DELETE", "STREAM.MSG.DELETE", "CONSUMER.CREATE"):
            await connection.client.publish(f"{IMPORTED_API}.{request}.{stream.name}", b"{}")
            assert "permissions violation for publish" in (await connection.error()).lower(), request


@watcher
async def test_watcher_may_not_listen_to_others(connection: Connection) -> None:
    for subject in (">", CreatePayment.subject.replace("{id}", "*"), "stored.>", *(f"{s.name}.>" for s in SERVICES)):
        await connection.client.subscribe(subject)
        assert "permissions violation for subscription" in (await connection.error()).lower(), subject
