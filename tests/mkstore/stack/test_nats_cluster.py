"""Three nats-servers as a cluster."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import nats as nats_client
import pytest
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from contracts.consumers import PAYMENTS_CREATE_PAYMENT
from contracts.payments import CreatePayment
from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_EVENTS, STORED
from kit.messaging.broker import Broker
from kit.messaging.nats_compat import client_of
from kit.messaging.reader import last_bodies
from kit.ops.provisioning import NotProvisioned, Sizes, provision
from mkstore.chaos.network import Link, Mode
from mkstore.stack import ports
from mkstore.stack.servers.nats_cluster import NODES, NatsNode, Routes, cluster_of, is_healthy, meta_leader
from tests.support.nats_nodes import running_nodes
from tests.support.polling import eventually


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[NatsNode]]:
    with running_nodes(tmp_path_factory.mktemp("cluster")) as nodes:
        yield nodes


def urls(nodes: list[NatsNode]) -> str:
    return ",".join(node.admin_url for node in nodes)


async def provisioned(nodes: list[NatsNode]) -> bool:
    """Provision a cluster that has just started, and may change its leader once more."""
    with suppress(NotProvisioned):
        await provision(urls(nodes), Sizes(replicas=NODES))
        return True
    return False


@asynccontextmanager
async def jetstream(nodes: list[NatsNode]) -> AsyncIterator[JetStreamContext]:
    client = await nats_client.connect([node.admin_url for node in nodes])
    try:
        yield client.jetstream()
    finally:
        await client.close()


def port_of(broker: Broker) -> int | None:
    """Return the port of the server that a broker is connected to."""
    url = broker.client.connected_url
    return url.port if url else None


async def stores(broker: Broker) -> bool:
    with suppress(NatsError):
        return bool(await broker.jetstream.publish(CreatePayment.address_of(uuid4()), b"{}", timeout=1))
    return False


async def leader_of(stream: str, nodes: list[NatsNode]) -> NatsNode:
    async with jetstream(nodes) as context:
        cluster = (await context.stream_info(stream)).cluster
    assert cluster is not None
    return next(node for node in nodes if node.new_server_name() == cluster.leader)


async def test_every_stream_and_consumer_has_a_replica_on_each_node(nodes: list[NatsNode]) -> None:
    await eventually(partial(provisioned, nodes))
    assert await provision(urls(nodes), Sizes(replicas=NODES)) == []
    async with jetstream(nodes) as context:
        stream = await context.stream_info(PAYMENT_EVENTS.name)
        consumer = await context.consumer_info(KEYED_PAYMENT_COMMANDS.name, PAYMENTS_CREATE_PAYMENT.name)
    assert stream.cluster is not None
    assert consumer.cluster is not None
    assert [len(each.replicas or ()) for each in (stream.cluster, consumer.cluster)] == [NODES - 1, NODES - 1]


async def test_replicated_stream_takes_atomic_batches_and_republishes(nodes: list[NatsNode]) -> None:
    await eventually(partial(provisioned, nodes))
    batch = {"Nats-Batch-Id": "b"}
    async with jetstream(nodes) as context:
        client = client_of(context)
        copies = await client.subscribe(f"{STORED}payment.created")
        await client.publish("payment.created", b"1", headers=batch | {"Nats-Batch-Sequence": "1"})
        commit = batch | {"Nats-Batch-Sequence": "2", "Nats-Batch-Commit": "1"}
        reply = await client.request("payment.created", b"2", 5, headers=commit)
        assert b'"count":2' in reply.data
        assert [(await copies.next_msg(5)).data for _ in range(2)] == [b"1", b"2"]


async def test_acknowledged_command_survives_the_death_of_the_leader(nodes: list[NatsNode]) -> None:
    await eventually(partial(provisioned, nodes))
    address = CreatePayment.address_of(uuid4())
    async with jetstream(nodes) as context:
        await context.publish(address, b"{}")
    leader = await leader_of(KEYED_PAYMENT_COMMANDS.name, nodes)
    others = [node for node in nodes if node is not leader]
    assert leader.pid is not None
    os.kill(leader.pid, signal.SIGKILL)
    try:

        async def accepts() -> bool:
            async with jetstream(others) as context:
                try:
                    return bool(await context.publish(address, b"{}", timeout=1))
                except NatsError:
                    return False

        await eventually(accepts)
        async with jetstream(others) as context:
            stored = await last_bodies(context, KEYED_PAYMENT_COMMANDS, [address])
            assert stored == {address: b"{}"}
            assert (await context.stream_info(KEYED_PAYMENT_COMMANDS.name)).state.messages == 2
    finally:
        leader.start()
    assert meta_leader(leader.monitor_url) in {node.new_server_name() for node in nodes}
    await eventually(lambda: is_healthy(leader.monitor_url))


@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
async def test_broker_leaves_a_server_that_is_cut_off_from_the_others(tmp_path: Path, *, leads: bool) -> None:
    """A leader that is cut off answers for a while as if nothing were wrong."""
    links: dict[tuple[str, str], Link] = {}

    def linked(one: str, other: str, port: int) -> int:
        links[one, other] = Link(f"{one}-{other}", port)
        return links[one, other].port

    nodes = cluster_of(tmp_path, password="routes", log=lambda _: tmp_path / "log", options={}, map_route=linked)
    broker = Broker(urls(nodes), name="gateway", streams=[KEYED_PAYMENT_COMMANDS], replicas=NODES)
    try:
        for link in links.values():
            await link.start()
        for node in nodes:
            node.spawn()
        for node in nodes:
            await eventually(partial(asyncio.to_thread, node.is_ready))
        await eventually(partial(provisioned, nodes))
        await broker.start()
        leader = await leader_of(KEYED_PAYMENT_COMMANDS.name, nodes)
        left = leader if leads else next(node for node in nodes if node is not leader)
        while port_of(broker) != left.port:
            await broker.client.force_reconnect()
            await eventually(lambda: broker.client.is_connected)
        for ends, link in links.items():
            if left.name in ends:
                link.set(Mode.CUT)
        await eventually(lambda: port_of(broker) not in {left.port, None})
        await eventually(partial(stores, broker))
    finally:
        await broker.stop()
        for node in nodes:
            node.kill()
        for link in links.values():
            await link.stop()


async def test_node_with_another_password_is_not_admitted(nodes: list[NatsNode], tmp_path: Path) -> None:
    stranger = NatsNode("stranger", tmp_path, routes=Routes(ports.free_port(), [nodes[0].routes.port], "other"))
    stranger.spawn()
    try:
        await eventually(lambda: "authentication error" in nodes[0].log.read_text())
        assert not is_healthy(stranger.monitor_url)
    finally:
        stranger.stop()
