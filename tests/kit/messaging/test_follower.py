"""Following a stream without a consumer: nothing is missed and nothing doubled, whatever core NATS loses."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from structlog.testing import capture_logs

from contracts.streams import STORED, Stream
from kit.messaging import streams
from kit.messaging.follower import Follower
from kit.messaging.reader import sequence_of
from kit.runtime.tasks import cancel_and_wait
from mkstore.stack.servers import NatsServer
from tests.support.following import CHECK_INTERVAL, Following, following
from tests.support.polling import eventually
from tests.support.streams import new_stream, subject_in


@pytest.fixture
def stream() -> Stream:
    return new_stream()


async def test_messages_from_now_on_arrive_once_and_in_order(nats_server: NatsServer, stream: Stream) -> None:
    async with following(nats_server.url, stream) as first:
        await first.publish(b"before")
        await first.reads(1)
        async with following(nats_server.url, stream) as second:
            await asyncio.gather(*(second.publish(b"%d" % number) for number in range(600)))
            await first.reads(601)
            await second.reads(600)
            assert second.sequences[0] == 2
            assert [body for _, body in second.received] == [body for _, body in first.received[1:]]


async def test_message_right_after_the_start_is_not_missed(nats_server: NatsServer, stream: Stream) -> None:
    for number in range(1, 20):
        async with following(nats_server.url, stream) as now:
            await now.publish(b"x")
            await now.reads(1)
            assert now.sequences == [number]


class PublishesDuringStart(JetStreamContext):
    """JetStream on which a message is stored, and arrives, before the reply about its stream is read."""

    def __init__(self, client: Client, stream: Stream) -> None:
        super().__init__(client)
        self.client = client
        self.stream = stream

    async def stream_info(self, *args: Any, **options: Any) -> StreamInfo:
        info = await super().stream_info(*args, **options)
        before = self.client.stats["in_msgs"]
        await self.publish(subject_in(self.stream, "happened"), b"during the start")
        await eventually(lambda: self.client.stats["in_msgs"] >= before + 2)  # the message, and its acknowledgement
        return info


async def test_message_that_arrives_during_the_start_is_not_late(nats_server: NatsServer, stream: Stream) -> None:
    async with await nats.connect(nats_server.url) as client:
        await streams.provision(client.jetstream(), [stream])
        each = Following(client, stream)
        jetstream = PublishesDuringStart(client, stream)
        follower = Follower(jetstream, stream, each.record, check_interval=3600)
        running = asyncio.create_task(follower.run(lambda: False))
        await each.reads(1)
        await cancel_and_wait([running])


class Losing(Client):
    """A client that loses the republished messages for which `loses` returns true."""

    def __init__(self, loses: Callable[[Msg], bool]) -> None:
        super().__init__()
        self.loses = loses

    async def subscribe(self, subject: str, *args: Any, **options: Any) -> Any:
        cb: Callable[[Msg], Awaitable[None]] | None = options.get("cb")
        if cb is None or not subject.startswith(STORED):
            return await super().subscribe(subject, *args, **options)

        async def lossy(message: Msg) -> None:
            if not self.loses(message):
                await cb(message)

        return await super().subscribe(subject, *args, **options | {"cb": lossy})


@asynccontextmanager
async def losing(server: NatsServer, stream: Stream, loses: Callable[[int], bool]) -> AsyncIterator[Following]:
    """Follow a stream of which the sequences for which `loses` returns true are lost on the way."""
    client = Losing(lambda message: loses(sequence_of(message) or 0))
    await client.connect(server.url)
    try:
        await streams.provision(client.jetstream(), [stream])
        each = Following(client, stream)
        running = asyncio.create_task(each.follower.run(lambda: False))
        await eventually(each.follower.started.is_set)
        yield each
        await cancel_and_wait([running])
    finally:
        await client.close()


async def test_gap_of_lost_messages_is_filled(nats_server: NatsServer, stream: Stream) -> None:
    async with losing(nats_server, stream, lambda sequence: sequence % 7 in {1, 2, 5}) as each:
        await each.publish(*(b"%d" % number for number in range(100)))
        await each.reads(100)


async def test_lost_last_message_is_noticed(nats_server: NatsServer, stream: Stream) -> None:
    async with losing(nats_server, stream, lambda _: True) as each:
        await each.publish(b"1", b"2")
        await each.reads(2)
        await each.publish(b"3")
        await each.reads(3)


async def test_slow_reader_that_the_client_drops_messages_of_misses_nothing(
    nats_server: NatsServer, stream: Stream
) -> None:
    """The client keeps a limited number of messages for a slow callback, and drops the others."""

    class Small(Client):
        async def subscribe(self, subject: str, *args: Any, **options: Any) -> Any:
            limit = {"pending_msgs_limit": 5} if subject.startswith(STORED) else {}
            return await super().subscribe(subject, *args, **options | limit)

    dropped: list[Exception] = []

    async def remember(error: Exception) -> None:
        dropped.append(error)

    client = Small()
    await client.connect(nats_server.url, error_cb=remember)
    await streams.provision(client.jetstream(), [stream])
    each, go = Following(client, stream), asyncio.Event()

    async def slowly(message: Msg) -> None:
        await go.wait()
        await each.record(message)

    each.follower = Follower(each.jetstream, stream, slowly, check_interval=CHECK_INTERVAL)
    running = asyncio.create_task(each.follower.run(lambda: False))
    await eventually(each.follower.started.is_set)
    await each.publish(*(b"%d" % number for number in range(50)))
    await eventually(lambda: dropped)
    go.set()
    await each.reads(50)
    await cancel_and_wait([running])
    await client.close()


async def test_atomic_batch_appears_only_after_its_commit(nats_server: NatsServer, stream: Stream) -> None:
    async with following(nats_server.url, stream) as each:
        await each.publish_batch(20, commit=False)
        await each.publish(b"between")
        await each.reads(1)
        assert each.received == [(1, b"between")]
        await each.publish_batch(20, commit=True)
        await each.reads(21)


async def test_removed_messages_are_skipped_with_a_warning(nats_server: NatsServer, stream: Stream) -> None:
    async with losing(nats_server, stream, lambda sequence: sequence <= 10) as each:
        with capture_logs() as logs:
            for number in range(9):
                await each.jetstream.publish(subject_in(stream, "happened"), b"%d" % number)
                await each.jetstream.purge_stream(stream.name)
            await each.publish(b"kept")
            await eventually(lambda: (10, b"kept") in each.received)
        assert each.sequences == sorted(set(each.sequences))
        skipped = [entry["count"] for entry in logs if entry["event"].startswith("messages skipped")]
        assert sum(skipped) == 10 - len(each.received)


async def test_all_of_a_stream_that_is_created_anew_is_read(nats_server: NatsServer, stream: Stream) -> None:
    async with following(nats_server.url, stream) as each:
        await each.publish(b"1", b"2", b"3")
        await each.reads(3)
        await each.jetstream.delete_stream(stream.name)
        await streams.provision(each.jetstream, [stream])
        await each.publish(b"new")
        await eventually(lambda: each.received[3:] == [(1, b"new")], describe=lambda: str(each.received))
        await each.publish(b"newer")
        await eventually(lambda: each.received[4:] == [(2, b"newer")], describe=lambda: str(each.received))


@pytest.fixture
def killable(own_server: NatsServer) -> NatsServer:
    own_server.start()
    return own_server


async def test_killed_server_costs_no_message(killable: NatsServer, stream: Stream) -> None:
    """A message whose acknowledgement was lost may be stored twice; what is stored arrives once."""
    async with following(killable.url, stream) as each:
        done = asyncio.Event()

        async def publish() -> None:
            number = 0
            while not done.is_set():
                try:
                    await each.jetstream.publish(subject_in(stream, "happened"), b"%d" % number, timeout=1)
                    number += 1
                except NatsError:
                    await asyncio.sleep(0.05)

        publishing = asyncio.create_task(publish())
        for _ in range(3):
            count = len(each.received)
            await eventually(lambda c=count: len(each.received) > c + 50)  # type: ignore[misc]
            await asyncio.to_thread(killable.kill)
            await asyncio.to_thread(killable.start)
        count = len(each.received)
        await eventually(lambda: len(each.received) > count)
        done.set()
        await publishing
        last = (await each.jetstream.stream_info(stream.name)).state.last_seq
        await each.reads(last)


async def test_no_consumer_is_created(nats_server: NatsServer, stream: Stream) -> None:
    async with following(nats_server.url, stream) as each:
        await each.publish(b"1")
        await each.reads(1)
        info = json.loads((await each.client.request(f"$JS.API.STREAM.INFO.{stream.name}")).data)
        assert info["state"]["consumer_count"] == 0
