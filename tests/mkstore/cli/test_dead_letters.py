"""`mkstore dead-letters` on a real nats-server."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from nats.js import JetStreamContext
from typer.testing import CliRunner, Result

from contracts.outbox import ListRefusedEvents, RefusedEvent, RefusedEventAction, RefusedEventList, requests_of
from contracts.payments import CreatePayment
from contracts.streams import DEAD_LETTERS, KEYED_PAYMENT_COMMANDS, STREAMS, USER_EVENTS
from kit.messaging.streams import provision, stream_config
from mkstore.cli.main import app
from mkstore.stack.servers import NatsServer
from tests.support.replying_service import replying
from tests.support.running_store import MKSTORE
from tests.support.service_processes import connect


class Operator:
    """Runs the command and reads the streams."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *command: str, typed: str | None = None) -> Result:
        """Run a command."""
        return CliRunner().invoke(app, ["dead-letters", *command], typed, env={"NATS_URL": self.url, "COLUMNS": "200"})

    def json(self, *command: str) -> Any:
        """Run a command that succeeds; return its JSON output."""
        done = self(*command, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def on_streams(self, work: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        """Run `work` on the provisioned streams."""

        async def run() -> Any:
            async with connect(self.url) as broker:
                await provision(broker.jetstream, STREAMS)
                return await work(broker.jetstream)

        return asyncio.run(run())

    def dead_letter(self, *bodies: bytes, subject: str = "", **headers: str) -> list[int]:
        """Publish dead letters; return their ids."""

        async def work(jetstream: JetStreamContext) -> list[int]:
            headers_ = {
                "Dead-Reason": "LookupError",
                "Dead-Stream": KEYED_PAYMENT_COMMANDS.name,
                "Dead-Attempts": "10",
            } | {name.replace("_", "-"): value for name, value in headers.items()}
            ids = []
            for start in range(0, len(bodies), 200):
                acks = (
                    jetstream.publish(f"dead.{subject or CreatePayment.address_of(uuid4())}", body, headers=headers_)
                    for body in bodies[start : start + 200]
                )
                ids += [ack.seq for ack in await asyncio.gather(*acks)]
            return ids

        return list(self.on_streams(work))

    def depth(self, stream: str) -> int:
        """Count the messages of a stream."""

        async def work(jetstream: JetStreamContext) -> int:
            return int((await jetstream.stream_info(stream)).state.messages)

        return int(self.on_streams(work))


REFUSED = RefusedEvent(
    id=7, subject="user.created", aggregate_id=uuid4(), reason="too large", attempts=3, occurred_at=datetime.now(UTC),
    refused_at=datetime.now(UTC), waiting=0, request_id="", bytes=2, body="{}",
)  # fmt: skip


def refused_after(request: ListRefusedEvents) -> RefusedEventList:
    return RefusedEventList(data=() if request.after else (REFUSED,))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def operator(server: NatsServer) -> Operator:
    """Return an operator of empty streams."""
    operator = Operator(server.url)

    async def clear(jetstream: JetStreamContext) -> None:
        for stream in STREAMS:
            await jetstream.delete_stream(stream.name)

    operator.on_streams(clear)
    operator.on_streams(_nothing)
    return operator


async def _nothing(_: JetStreamContext) -> None: ...


def test_empty_queue_has_nothing_to_do(operator: Operator) -> None:
    assert operator.json("list") == []
    assert operator("list").stdout.startswith("0 dead letters")
    assert operator("replay", "--all").stdout == "0 replayed.\n"
    assert operator("discard", "--all").stdout == "0 discarded.\n"


def test_refused_events_do_not_count_as_a_page_of_letters(operator: Operator) -> None:
    letters = operator.dead_letter(*[b"{}"] * 3)
    listing, settling = requests_of("users")
    with replying(operator.url, {listing: refused_after, settling: lambda _: REFUSED}) as received:
        listed = operator("list", "--limit", "2", "--json")
        rows = json.loads(listed.stdout)
        assert [row["id"] for row in rows] == ["users:7", *letters[:2]]
        assert f"use --after {letters[1]}\n" in listed.stderr
        assert [row["id"] for row in operator.json("list", "--after", str(letters[1]))] == letters[2:]
        received.clear()
        assert operator.json("replay", "users:7") == {"replayed": 1, "failed": [], "stopped": None}
    assert settling(id=7, action=RefusedEventAction.PUBLISH) in received


def test_list_shows_attempts_and_times_in_pages(operator: Operator) -> None:
    headers = {"Dead_First_Time": "2026-01-31T12:00:00+00:00", "X_Request_Id": "r1", "Dead_Detail": "no [/such] thing"}
    ids = operator.dead_letter(*[b"{}"] * 250, **headers)
    first = operator.json("list")
    assert [row["id"] for row in first] == ids[:100]
    assert first[0] == first[0] | {
        "reason": "LookupError",
        "attempts": 10,
        "first": "2026-01-31T12:00:00+00:00",
        "requestId": "r1",
        "detail": "no [/such] thing",
        "bytes": 2,
    }
    shown = operator("list", "--limit", "2", "--after", str(ids[99]))
    assert f"There are more letters: use --after {ids[101]}" in shown.output
    assert all(str(letter) in shown.stdout for letter in ids[100:102])
    assert [row["id"] for row in operator.json("list", "--limit", "500", "--after", str(ids[99]))] == ids[100:]


def test_list_filters_by_subject_and_reason(operator: Operator) -> None:
    (user,) = operator.dead_letter(b"{}", subject="user.created", Dead_Reason="ValidationError")
    (payment,) = operator.dead_letter(b"{}")
    assert [row["id"] for row in operator.json("list", "--subject", "user.*")] == [user]
    assert [row["id"] for row in operator.json("list", "--reason", "lookuperror")] == [payment]
    assert operator.json("list", "--subject", "user.>", "--reason", "LookupError") == []
    for wrong in ("a b", "a..b", ">.a", ""):
        assert operator("list", "--subject", wrong).exit_code == 2


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        (b'{"name": "Ada \\u001b[31m", "caf\xc3\xa9": 1}', "json", '"café": 1'),
        (b"\x1b[31mred\x9b", "base64", "00000000  1b 5b 33 31 6d"),
        ("\x1b[31m no json \x9b".encode(), "text", "\\x1b[31m no json \\x9b"),
        (b"[" * 100_000, "text", "[[["),
        (b'{"amount": NaN}', "text", "NaN"),
        (b"", "text", "no body"),
        (b"\x00\xff" * 2000, "base64", "4000 bytes in total"),
    ],
)
def test_show_prints_everything_and_escapes_control_characters(
    operator: Operator, body: bytes, encoding: str, text: str
) -> None:
    (letter,) = operator.dead_letter(body, ce_id="e1", Dead_Detail="\x1b[2Jgone")
    shown = operator("show", str(letter))
    assert shown.exit_code == 0
    assert text in shown.stdout
    assert "ce-id: e1" in shown.stdout
    assert not {"\x1b", "\x9b"} & set(shown.stdout)
    fields = operator.json("show", str(letter))
    assert (fields["encoding"], fields["headers"]["ce-id"]) == (encoding, "e1")


@pytest.mark.parametrize("command", [("show",), ("replay",), ("discard", "--yes")])
def test_unknown_id_fails_with_a_message(operator: Operator, command: tuple[str, ...]) -> None:
    done = operator(*command, "77")
    assert done.exit_code == 1
    assert done.stderr.startswith("There is no letter 77")


@pytest.mark.parametrize("command", ["replay", "discard"])
@pytest.mark.parametrize(
    "chosen", [[], ["1", "--all"], ["1", "--reason", "X"], ["--subject", "a.b", "--all"], ["--subject", "a b"], ["0"]]
)
def test_selection_must_be_unambiguous(command: str, chosen: list[str]) -> None:
    assert Operator("nats://127.0.0.1:1")(command, *chosen).exit_code == 2


def test_replayed_event_keeps_its_id(operator: Operator) -> None:
    (letter,) = operator.dead_letter(b'{"id": 1}', subject="user.created", ce_id="e1", Dead_Stream=USER_EVENTS.name)
    assert operator.json("replay", str(letter)) == {"replayed": 1, "failed": [], "stopped": None}
    assert operator.json("list") == []

    async def last(jetstream: JetStreamContext) -> Any:
        return await jetstream.get_last_msg(USER_EVENTS.name, "user.created")

    sent = operator.on_streams(last)
    assert (sent.data, sent.headers["ce-id"]) == (b'{"id": 1}', "e1")


def test_letter_that_cannot_be_replayed_stays_and_is_listed(operator: Operator) -> None:
    before, lost, after = (
        operator.dead_letter(b"{}", Dead_Stream=name)[0]
        for name in ("KEYED_PAYMENT_COMMANDS", "LOST", "KEYED_PAYMENT_COMMANDS")
    )
    done = operator("replay", "--all")
    assert (done.exit_code, done.stdout) == (1, "2 replayed.\n")
    assert "the stream LOST is missing" in done.stderr
    assert before < lost < after
    assert [row["id"] for row in operator.json("list")] == [lost]


def test_full_stream_stops_the_replay(operator: Operator) -> None:
    operator.dead_letter(*[b"{}" * 500] * 20)

    async def shrink(jetstream: JetStreamContext) -> None:
        await jetstream.update_stream(stream_config(KEYED_PAYMENT_COMMANDS.model_copy(update={"max_bytes": 8000})))

    operator.on_streams(shrink)
    done = operator("replay", "--all")
    assert done.exit_code == 1
    assert "The stream KEYED_PAYMENT_COMMANDS is full" in done.stderr
    replayed = int(done.stdout.split()[0])
    assert 0 < replayed < 20
    assert (operator.depth(KEYED_PAYMENT_COMMANDS.name), operator.depth(DEAD_LETTERS.name)) == (replayed, 20 - replayed)


def test_discard_asks_for_confirmation(operator: Operator) -> None:
    (letter,) = operator.dead_letter(b"no payment")
    refused = operator("discard", str(letter), typed="y\n")
    assert refused.exit_code == 1
    assert "use --yes to confirm without a terminal" in refused.stderr
    assert operator.depth(DEAD_LETTERS.name) == 1
    assert operator("discard", str(letter), "--yes").stdout == "1 discarded.\n"
    assert operator.depth(DEAD_LETTERS.name) == 0


def test_killed_and_concurrent_replays_publish_each_letter_once(operator: Operator) -> None:
    ids = [uuid4() for _ in range(1500)]

    async def fill(jetstream: JetStreamContext) -> None:
        headers = {"Dead-Stream": KEYED_PAYMENT_COMMANDS.name, "Dead-Reason": "LookupError"}
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            await asyncio.gather(
                *(
                    jetstream.publish(f"dead.{CreatePayment.address_of(i)}", b"%d" % i.int, headers=headers)
                    for i in some
                )
            )

    async def wait_for_the_first(jetstream: JetStreamContext) -> None:
        while (await jetstream.stream_info(KEYED_PAYMENT_COMMANDS.name)).state.messages < 100:
            assert killed.poll() is None
            await asyncio.sleep(0.01)

    operator.on_streams(fill)
    replaying = [MKSTORE, "dead-letters", "replay", "--all"]
    run = partial(subprocess.Popen, env={"NATS_URL": operator.url}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    killed = run(replaying)
    operator.on_streams(wait_for_the_first)
    killed.kill()
    killed.communicate()
    assert operator.depth(DEAD_LETTERS.name) > 0
    two = [run(replaying) for _ in range(2)]
    output = [each.communicate()[0] for each in two]
    assert [each.returncode for each in two] == [0, 0], output
    assert operator.depth(DEAD_LETTERS.name) == 0

    async def sent(jetstream: JetStreamContext) -> Counter[str]:
        return Counter((await jetstream.stream_info(KEYED_PAYMENT_COMMANDS.name, subjects_filter=">")).state.subjects)

    assert operator.on_streams(sent) == Counter(CreatePayment.address_of(each) for each in ids)


def test_missing_server_fails_with_a_message() -> None:
    done = CliRunner().invoke(app, ["dead-letters", "list"], env={"NATS_URL": "nats://127.0.0.1:1"})
    assert (done.exit_code, done.stderr) == (1, "NATS does not answer: start it, or set NATS_URL to a running one.\n")
