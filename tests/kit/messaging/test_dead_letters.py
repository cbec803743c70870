"""The dead-letter queue: pages, replay and refused replays."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from contracts.base import Command
from contracts.consumers import Durable
from contracts.streams import DEAD_LETTERS
from kit.errors import NonRetryable
from kit.messaging.broker import Broker
from kit.messaging.consumers import DurableRouter
from kit.messaging.dead_letters import DeadLetterQueue, DeadLetterRecord, ReplayRefused, StreamFull
from kit.messaging.retry import RETRY_POLICY, RetryPolicy
from kit.messaging.streams import stream_config
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import Greetings
from tests.support.polling import eventually
from tests.support.provisioning import ProvisionedBroker
from tests.support.streams import subject_in

FAILURE = {"Dead-Reason": "LookupError", "Dead-Attempts": "3", "X-Request-Id": "r1", "traceparent": "00-a-b-01"}


class Queue:
    """The dead letters of the test's stream."""

    def __init__(self, broker: Broker, greetings: Greetings) -> None:
        self.broker, self.greetings, self.letters = broker, greetings, DeadLetterQueue(broker)
        self.subjects = greetings.stream.subjects[0]

    async def add(self, command: Command | None = None, body: bytes | None = None, **headers: str) -> DeadLetterRecord:
        command = command or self.greetings.command(id=uuid4())
        body = command.model_dump_json().encode() if body is None else body
        own = FAILURE | {"Dead-Stream": self.greetings.stream.name, "Nats-Msg-Id": uuid4().hex}
        own |= {name.replace("_", "-"): value for name, value in headers.items()}
        ack = await self.broker.jetstream.publish(f"dead.{command.address}", body, headers=own)
        letter = await self.letters.get(ack.seq)
        assert letter
        return letter

    async def all(self, **filters: str) -> list[DeadLetterRecord]:
        filters.setdefault("subject", self.subjects)
        return [letter async for page in self.letters.pages(**filters) for letter in page]  # type: ignore[arg-type]

    async def handle_pending(self) -> None:
        """Remove the pending messages, as their handling does; the stream still deduplicates their ids."""
        await self.broker.jetstream.purge_stream(self.greetings.stream.name)

    async def pending(self) -> int:
        return await self.greetings.pending(self.broker.jetstream)


@pytest.fixture
def queue(broker: Broker, greetings: Greetings) -> Queue:
    return Queue(broker, greetings)


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00\xff" * 50])
async def test_dead_letter_is_equal_by_id_and_in_a_page(queue: Queue, body: bytes) -> None:
    letter = await queue.add(body=body)
    assert await queue.all() == [letter]
    assert letter.body == body
    assert letter.own_headers == {"X-Request-Id": "r1", "traceparent": "00-a-b-01"}
    assert (letter.reason, letter.stream) == ("LookupError", queue.greetings.stream.name)


async def test_unknown_or_removed_id_has_no_dead_letter(queue: Queue) -> None:
    letter = await queue.add()
    assert await queue.letters.get(letter.id + 1000) is None
    assert await queue.letters.remove(letter)
    assert await queue.letters.get(letter.id) is None
    assert not await queue.letters.remove(letter)


async def test_dead_letters_are_filtered_by_subject_and_reason(queue: Queue) -> None:
    one, other = await queue.add(), await queue.add(Dead_Reason="ValidationError")
    assert await queue.all() == [one, other]
    assert await queue.all(reason="validationerror") == [other]
    assert await queue.all(subject=one.subject) == [one]
    assert await queue.all(subject=one.subject, reason="ValidationError") == []
    assert await queue.all(subject=subject_in(queue.greetings.stream, "none.>")) == []


async def test_pages_end_at_the_newest_dead_letter_of_their_start(queue: Queue) -> None:
    letters = [await queue.add(body=b"x" * 500_000) for _ in range(12)]
    seen: list[int] = []
    async for page in queue.letters.pages(subject=queue.subjects):
        assert sum(len(letter.body) for letter in page) < 5_000_000
        seen += [letter.id for letter in page]
        await queue.add()  # such as a replayed message that failed again
    assert seen == [letter.id for letter in letters]
    assert len(await queue.all()) > len(letters)


async def test_replayed_message_equals_the_original(queue: Queue) -> None:
    letter = await queue.add(ce_id="e1", content_type="application/json")
    await queue.letters.replay(letter)
    sent = await queue.broker.jetstream.get_last_msg(queue.greetings.stream.name, letter.subject)
    assert sent.data == letter.body
    own = {name: value for name, value in (sent.headers or {}).items() if not name.startswith("Nats-")}
    assert own == letter.own_headers
    assert own["ce-id"] == "e1"


async def test_replay_is_not_deduplicated_against_the_original(queue: Queue) -> None:
    command = queue.greetings.command(id=uuid4())
    await queue.greetings.send(queue.broker.jetstream, command, **{"Nats-Msg-Id": str(command.id)})
    await queue.handle_pending()
    await queue.letters.replay(await queue.add(command))
    assert await queue.pending() == 1


async def test_repeated_replays_publish_one_message(queue: Queue) -> None:
    letter = await queue.add()
    await asyncio.gather(*(queue.letters.replay(letter) for _ in range(20)))
    assert await queue.pending() == 1
    await queue.handle_pending()
    await queue.letters.replay(letter)
    assert await queue.pending() == 0


async def test_replay_is_refused_while_another_message_is_pending(queue: Queue) -> None:
    command = queue.greetings.command(id=uuid4())
    letter = await queue.add(command, body=b"another")
    await queue.greetings.send(queue.broker.jetstream, command)
    with pytest.raises(ReplayRefused, match="another message is pending on its subject"):
        await queue.letters.replay(letter)
    assert await queue.pending() == 1


async def test_events_of_one_subject_are_all_replayed(broker: Broker, greetings: Greetings) -> None:
    events = greetings.stream.model_copy(update={"name": f"{greetings.stream.name}E", "retention": "limits"})
    await broker.jetstream.delete_stream(greetings.stream.name)
    await broker.jetstream.add_stream(stream_config(events))
    queue = Queue(broker, Greetings(greetings.command, events))
    command = greetings.command(id=uuid4())
    for number in range(3):
        await queue.letters.replay(await queue.add(command, body=b"%d" % number))
    assert await queue.pending() == 3


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        ("", "does not name its stream"),
        ("NOWHERE", "stream NOWHERE is missing"),
        (DEAD_LETTERS.name, "does not include its subject"),
    ],
)
async def test_replay_without_a_fitting_stream_publishes_nothing(queue: Queue, stream: str, reason: str) -> None:
    received: list[object] = []
    letter = await queue.add(Dead_Stream=stream)
    await queue.broker.jetstream.delete_stream(queue.greetings.stream.name)

    async def receive(message: object) -> None:
        received.append(message)

    await queue.broker.client.subscribe(letter.subject, cb=receive)
    with pytest.raises(ReplayRefused, match=reason):
        await queue.letters.replay(letter)
    await queue.broker.client.flush()
    assert not received


async def test_replay_into_a_full_stream_is_refused(queue: Queue) -> None:
    config = stream_config(queue.greetings.stream)
    config.max_bytes = 100
    await queue.broker.jetstream.update_stream(config)
    with pytest.raises(StreamFull, match=queue.greetings.stream.name):
        await queue.letters.replay(await queue.add())


async def test_each_failing_consumer_adds_a_dead_letter(nats_server: NatsServer, greetings: Greetings) -> None:
    both = greetings.stream.model_copy(update={"retention": "limits"})  # a work queue has only one consumer
    async with AsyncExitStack() as stack:
        for service in ("one", "other"):
            router = DurableRouter()

            @router.consume(Durable(f"{service}-greet", greetings.command, both))
            async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
                raise NonRetryable

            broker = ProvisionedBroker(nats_server.url, name=service, streams=[both, DEAD_LETTERS])
            stack.push_async_callback(broker.stop)
            broker.context.set_global(RETRY_POLICY, RetryPolicy())
            broker.include_router(router)
            await broker.start()
        command = greetings.command(id=uuid4())
        await greetings.send(broker.jetstream, command)

        async def consumers() -> bool:
            pages = DeadLetterQueue(broker).pages(subject=command.address)
            return {letter.headers["Dead-Consumer"] async for page in pages for letter in page} == {
                "one-greet",
                "other-greet",
            }

        await eventually(consumers)
