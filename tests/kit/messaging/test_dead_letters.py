"""Dead letters: looked through in pages, sent again once, and kept where they cannot go."""

import asyncio
from contextlib import AsyncExitStack
from uuid import uuid4

import pytest

from contracts.base import Command
from contracts.consumers import Durable
from contracts.streams import DEAD_LETTERS
from kit.errors import NonRetryable
from kit.messaging.broker import Broker
from kit.messaging.consumers import RETRY_POLICY, DurableRouter
from kit.messaging.dead_letters import DeadLetterQueue, DeadLetterRecord, ReplayRefused, StreamFull
from kit.messaging.retry import RetryPolicy
from kit.messaging.streams import stream_config
from mkstore.stack.servers import NatsServer
from tests.kit.conftest import Greetings
from tests.support.polling import eventually

STORY = {"Dead-Reason": "LookupError", "Dead-Attempts": "3", "X-Request-Id": "r1", "traceparent": "00-a-b-01"}


class Morgue:
    """This test's stream and its dead letters."""

    def __init__(self, broker: Broker, greetings: Greetings) -> None:
        self.broker, self.greetings, self.letters = broker, greetings, DeadLetterQueue(broker)
        self.mine = greetings.stream.subjects[0]

    async def bury(self, command: Command | None = None, body: bytes | None = None, **headers: str) -> DeadLetterRecord:
        command = command or self.greetings.command(id=uuid4())
        body = command.model_dump_json().encode() if body is None else body
        told = STORY | {"Dead-Stream": self.greetings.stream.name, "Nats-Msg-Id": uuid4().hex}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        ack = await self.broker.jetstream.publish(f"dead.{command.address}", body, headers=told)
        letter = await self.letters.get(ack.seq)
        assert letter
        return letter

    async def all(self, **chosen: str) -> list[DeadLetterRecord]:
        chosen.setdefault("subject", self.mine)
        return [letter async for page in self.letters.pages(**chosen) for letter in page]  # type: ignore[arg-type]

    async def take(self) -> None:
        """Handle what waits in the stream: it is gone, and its message id is known for two minutes more."""
        await self.broker.jetstream.purge_stream(self.greetings.stream.name)

    async def waiting(self) -> int:
        return await self.greetings.pending(self.broker.jetstream)


@pytest.fixture
def morgue(broker: Broker, greetings: Greetings) -> Morgue:
    return Morgue(broker, greetings)


@pytest.mark.parametrize("body", [b"", b"{}", b"\x00\xff" * 50])
async def test_a_letter_is_the_same_by_its_id_and_in_a_page(morgue: Morgue, body: bytes) -> None:
    letter = await morgue.bury(body=body)
    assert await morgue.all() == [letter]
    assert letter.body == body
    assert letter.own_headers == {"X-Request-Id": "r1", "traceparent": "00-a-b-01"}
    assert (letter.reason, letter.stream) == ("LookupError", morgue.greetings.stream.name)


async def test_an_id_that_no_letter_has_finds_nothing(morgue: Morgue) -> None:
    letter = await morgue.bury()
    assert await morgue.letters.get(letter.id + 1000) is None
    assert await morgue.letters.remove(letter)
    assert await morgue.letters.get(letter.id) is None
    assert not await morgue.letters.remove(letter)


async def test_letters_are_chosen_by_subject_and_reason(morgue: Morgue) -> None:
    one, other = await morgue.bury(), await morgue.bury(Dead_Reason="ValidationError")
    assert await morgue.all() == [one, other]
    assert await morgue.all(reason="validationerror") == [other]
    assert await morgue.all(subject=one.subject) == [one]
    assert await morgue.all(subject=one.subject, reason="ValidationError") == []
    assert await morgue.all(subject=f"{morgue.mine}.more") == []


async def test_pages_end_at_the_letter_that_was_the_newest_when_they_began(morgue: Morgue) -> None:
    letters = [await morgue.bury(body=b"x" * 500_000) for _ in range(12)]
    seen: list[int] = []
    async for page in morgue.letters.pages(subject=morgue.mine):
        assert sum(len(letter.body) for letter in page) < 5_000_000
        seen += [letter.id for letter in page]
        await morgue.bury()  # what is sent again and fails again comes back at the end
    assert seen == [letter.id for letter in letters]
    assert len(await morgue.all()) > len(letters)


async def test_a_replayed_letter_is_the_message_that_it_was(morgue: Morgue) -> None:
    letter = await morgue.bury(ce_id="e1", content_type="application/json")
    await morgue.letters.replay(letter)
    sent = await morgue.broker.jetstream.get_last_msg(morgue.greetings.stream.name, letter.subject)
    assert sent.data == letter.body
    own = {name: value for name, value in (sent.headers or {}).items() if not name.startswith("Nats-")}
    assert own == letter.own_headers
    assert own["ce-id"] == "e1"


async def test_a_replay_is_not_taken_for_the_message_that_died_a_moment_ago(morgue: Morgue) -> None:
    command = morgue.greetings.command(id=uuid4())
    await morgue.greetings.send(morgue.broker.jetstream, command, **{"Nats-Msg-Id": str(command.id)})
    await morgue.take()
    await morgue.letters.replay(await morgue.bury(command))
    assert await morgue.waiting() == 1


async def test_a_letter_that_is_replayed_twice_makes_one_message(morgue: Morgue) -> None:
    letter = await morgue.bury()
    await asyncio.gather(*(morgue.letters.replay(letter) for _ in range(20)))
    assert await morgue.waiting() == 1
    await morgue.take()
    await morgue.letters.replay(letter)
    assert await morgue.waiting() == 0


async def test_a_letter_stays_while_another_message_waits_under_its_subject(morgue: Morgue) -> None:
    command = morgue.greetings.command(id=uuid4())
    letter = await morgue.bury(command, body=b"another")
    await morgue.greetings.send(morgue.broker.jetstream, command)
    with pytest.raises(ReplayRefused, match="another message is pending on its subject"):
        await morgue.letters.replay(letter)
    assert await morgue.waiting() == 1


async def test_events_of_one_subject_are_replayed_one_after_the_other(broker: Broker, greetings: Greetings) -> None:
    events = greetings.stream.model_copy(update={"name": f"{greetings.stream.name}E", "retention": "limits"})
    await broker.jetstream.delete_stream(greetings.stream.name)
    await broker.jetstream.add_stream(stream_config(events))
    morgue = Morgue(broker, Greetings(greetings.command, events))
    command = greetings.command(id=uuid4())
    for number in range(3):
        await morgue.letters.replay(await morgue.bury(command, body=b"%d" % number))
    assert await morgue.waiting() == 3


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        ("", "does not name its stream"),
        ("NOWHERE", "stream NOWHERE is missing"),
        (DEAD_LETTERS.name, "does not include its subject"),
    ],
)
async def test_a_letter_that_no_stream_takes_back_stays_and_goes_to_nobody_else(
    morgue: Morgue, stream: str, why: str
) -> None:
    heard: list[object] = []
    letter = await morgue.bury(Dead_Stream=stream)
    await morgue.broker.jetstream.delete_stream(morgue.greetings.stream.name)

    async def hear(message: object) -> None:
        heard.append(message)

    await morgue.broker.client.subscribe(letter.subject, cb=hear)
    with pytest.raises(ReplayRefused, match=why):
        await morgue.letters.replay(letter)
    await morgue.broker.client.flush()
    assert not heard


async def test_a_full_stream_takes_no_letter(morgue: Morgue) -> None:
    config = stream_config(morgue.greetings.stream)
    config.max_bytes = 100
    await morgue.broker.jetstream.update_stream(config)
    with pytest.raises(StreamFull, match=morgue.greetings.stream.name):
        await morgue.letters.replay(await morgue.bury())


async def test_each_consumer_that_cannot_handle_a_message_leaves_a_letter_of_its_own(
    nats_server: NatsServer, greetings: Greetings
) -> None:
    both = greetings.stream.model_copy(update={"retention": "limits"})  # a work queue has one consumer alone
    async with AsyncExitStack() as stack:
        for service in ("one", "other"):
            router = DurableRouter()

            @router.consume(Durable(f"{service}-greet", greetings.command, both))
            async def greet(command: greetings.command) -> None:  # type: ignore[name-defined]
                raise NonRetryable

            broker = Broker(nats_server.url, name=service, streams=[both, DEAD_LETTERS])
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
