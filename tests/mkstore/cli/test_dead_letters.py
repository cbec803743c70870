"""`mkstore dead-letters` on a real nats-server: what an operator sees of dead letters and does about them."""

import asyncio
import json
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from nats.js import JetStreamContext
from typer.testing import CliRunner, Result

from contracts.payments import CreatePayment
from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, STREAMS, USER_EVENTS
from kit.messaging.streams import provision, stream_config
from mkstore.cli.main import app
from mkstore.stack.servers import NatsServer
from tests.support.running_store import MKSTORE
from tests.support.service_processes import connect


class Desk:
    """An operator's terminal, and a look at the streams."""

    def __init__(self, nats: NatsServer) -> None:
        self.url = nats.url

    def __call__(self, *command: str, typed: str | None = None) -> Result:
        """Run a command."""
        return CliRunner().invoke(app, ["dead-letters", *command], typed, env={"NATS_URL": self.url, "COLUMNS": "200"})

    def told(self, *command: str) -> Any:
        """Run a command that works, for a program."""
        done = self(*command, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def there(self, work: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        """Do something on the streams."""

        async def run() -> Any:
            async with connect(self.url) as broker:
                await provision(broker.jetstream, STREAMS)
                return await work(broker.jetstream)

        return asyncio.run(run())

    def bury(self, *bodies: bytes, subject: str = "", **headers: str) -> list[int]:
        """Put letters into the stream; returns their ids."""

        async def work(jetstream: JetStreamContext) -> list[int]:
            told = {"Dead-Reason": "LookupError", "Dead-Stream": PAYMENT_COMMANDS.name, "Dead-Attempts": "10"} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            found = []
            for start in range(0, len(bodies), 200):
                acks = (
                    jetstream.publish(f"dead.{subject or CreatePayment.address_of(uuid4())}", body, headers=told)
                    for body in bodies[start : start + 200]
                )
                found += [ack.seq for ack in await asyncio.gather(*acks)]
            return found

        return list(self.there(work))

    def depth(self, stream: str) -> int:
        """Count the messages of a stream."""

        async def work(jetstream: JetStreamContext) -> int:
            return int((await jetstream.stream_info(stream)).state.messages)

        return int(self.there(work))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with NatsServer(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def desk(server: NatsServer) -> Desk:
    """Return a desk on which nothing lies yet."""
    desk = Desk(server)

    async def clear(jetstream: JetStreamContext) -> None:
        for stream in STREAMS:
            await jetstream.delete_stream(stream.name)

    desk.there(clear)
    desk.there(_nothing)
    return desk


async def _nothing(_: JetStreamContext) -> None: ...


def test_empty_queue_has_nothing_to_do(desk: Desk) -> None:
    assert desk.told("list") == []
    assert desk("list").stdout.startswith("0 dead letters")
    assert desk("replay", "--all").stdout == "0 replayed.\n"
    assert desk("discard", "--all").stdout == "0 discarded.\n"


def test_list_shows_attempts_and_times_in_pages(desk: Desk) -> None:
    story = {"Dead_First_Time": "2026-01-31T12:00:00+00:00", "X_Request_Id": "r1", "Dead_Detail": "no [/such] thing"}
    ids = desk.bury(*[b"{}"] * 250, **story)
    first = desk.told("list")
    assert [row["id"] for row in first] == ids[:100]
    assert first[0] == first[0] | {
        "reason": "LookupError",
        "attempts": 10,
        "first": "2026-01-31T12:00:00+00:00",
        "requestId": "r1",
        "detail": "no [/such] thing",
        "bytes": 2,
    }
    shown = desk("list", "--limit", "2", "--after", str(ids[99]))
    assert f"There are more letters: use --after {ids[101]}" in shown.output
    assert all(str(letter) in shown.stdout for letter in ids[100:102])
    assert [row["id"] for row in desk.told("list", "--limit", "500", "--after", str(ids[99]))] == ids[100:]


def test_list_filters_by_subject_and_reason(desk: Desk) -> None:
    (user,) = desk.bury(b"{}", subject="user.created", Dead_Reason="ValidationError")
    (payment,) = desk.bury(b"{}")
    assert [row["id"] for row in desk.told("list", "--subject", "user.*")] == [user]
    assert [row["id"] for row in desk.told("list", "--reason", "lookuperror")] == [payment]
    assert desk.told("list", "--subject", "user.>", "--reason", "LookupError") == []
    for wrong in ("a b", "a..b", ">.a", ""):
        assert desk("list", "--subject", wrong).exit_code == 2


@pytest.mark.parametrize(
    ("body", "encoding", "seen"),
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
    desk: Desk, body: bytes, encoding: str, seen: str
) -> None:
    (letter,) = desk.bury(body, ce_id="e1", Dead_Detail="\x1b[2Jgone")
    shown = desk("show", str(letter))
    assert shown.exit_code == 0
    assert seen in shown.stdout
    assert "ce-id: e1" in shown.stdout
    assert not {"\x1b", "\x9b"} & set(shown.stdout)
    told = desk.told("show", str(letter))
    assert (told["encoding"], told["headers"]["ce-id"]) == (encoding, "e1")


@pytest.mark.parametrize("command", [("show",), ("replay",), ("discard", "--yes")])
def test_unknown_id_fails_with_a_message(desk: Desk, command: tuple[str, ...]) -> None:
    done = desk(*command, "77")
    assert done.exit_code == 1
    assert done.stderr.startswith("There is no letter 77")


@pytest.mark.parametrize("command", ["replay", "discard"])
@pytest.mark.parametrize(
    "chosen", [[], ["1", "--all"], ["1", "--reason", "X"], ["--subject", "a.b", "--all"], ["--subject", "a b"], ["0"]]
)
def test_selection_must_be_unambiguous(desk: Desk, command: str, chosen: list[str]) -> None:
    assert desk(command, *chosen).exit_code == 2


def test_replayed_event_keeps_its_id(desk: Desk) -> None:
    (letter,) = desk.bury(b'{"id": 1}', subject="user.created", ce_id="e1", Dead_Stream=USER_EVENTS.name)
    assert desk.told("replay", str(letter)) == {"replayed": 1, "failed": [], "stopped": None}
    assert desk.told("list") == []

    async def last(jetstream: JetStreamContext) -> Any:
        return await jetstream.get_last_msg(USER_EVENTS.name, "user.created")

    sent = desk.there(last)
    assert (sent.data, sent.headers["ce-id"]) == (b'{"id": 1}', "e1")


def test_letter_that_cannot_be_replayed_stays_and_is_listed(desk: Desk) -> None:
    before, lost, after = (
        desk.bury(b"{}", Dead_Stream=name)[0] for name in ("PAYMENT_COMMANDS", "LOST", "PAYMENT_COMMANDS")
    )
    done = desk("replay", "--all")
    assert (done.exit_code, done.stdout) == (1, "2 replayed.\n")
    assert "the stream LOST is missing" in done.stderr
    assert before < lost < after
    assert [row["id"] for row in desk.told("list")] == [lost]


def test_full_stream_stops_the_replay(desk: Desk) -> None:
    desk.bury(*[b"{}" * 500] * 20)

    async def shrink(jetstream: JetStreamContext) -> None:
        await jetstream.update_stream(stream_config(PAYMENT_COMMANDS.model_copy(update={"max_bytes": 8000})))

    desk.there(shrink)
    asking = partial(subprocess.run, capture_output=True, text=True, check=False, env={"NATS_URL": desk.url})
    done = asking([MKSTORE, "dead-letters", "replay", "--all"])
    assert done.returncode == 1
    assert "The stream PAYMENT_COMMANDS is full" in done.stderr
    went = int(done.stdout.split()[0])
    assert 0 < went < 20
    assert (desk.depth(PAYMENT_COMMANDS.name), desk.depth(DEAD_LETTERS.name)) == (went, 20 - went)


def test_discard_asks_for_confirmation(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (letter,) = desk.bury(b"no payment")
    refused = desk("discard", str(letter), typed="y\n")
    assert refused.exit_code == 1
    assert "use --yes to confirm without a terminal" in refused.stderr
    assert desk.depth(DEAD_LETTERS.name) == 1
    assert desk("discard", str(letter), "--yes").stdout == "1 discarded.\n"
    assert desk.depth(DEAD_LETTERS.name) == 0


def test_killed_and_concurrent_replays_publish_each_letter_once(desk: Desk) -> None:
    ids = [uuid4() for _ in range(3000)]

    async def fill(jetstream: JetStreamContext) -> None:
        for start in range(0, len(ids), 500):
            await asyncio.gather(
                *(
                    jetstream.publish(
                        f"dead.{CreatePayment.address_of(each)}",
                        b"%d" % each.int,
                        headers={"Dead-Stream": PAYMENT_COMMANDS.name, "Dead-Reason": "LookupError"},
                    )
                    for each in ids[start : start + 500]
                )
            )

    desk.there(fill)
    began = time.monotonic()
    replaying = [MKSTORE, "dead-letters", "replay", "--all"]
    run = partial(subprocess.Popen, env={"NATS_URL": desk.url}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    killed = run(replaying)
    while desk.depth(PAYMENT_COMMANDS.name) < 500:
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    assert desk.depth(DEAD_LETTERS.name) > 1000
    two = [run(replaying) for _ in range(2)]
    said = [each.communicate()[0] for each in two]
    assert [each.returncode for each in two] == [0, 0], said
    assert time.monotonic() - began < 60
    assert desk.depth(DEAD_LETTERS.name) == 0

    async def sent(jetstream: JetStreamContext) -> Counter[str]:
        return Counter((await jetstream.stream_info(PAYMENT_COMMANDS.name, subjects_filter=">")).state.subjects)

    assert desk.there(sent) == Counter(CreatePayment.address_of(each) for each in ids)


def test_missing_server_fails_with_a_message() -> None:
    done = CliRunner().invoke(app, ["dead-letters", "list"], env={"NATS_URL": "nats://127.0.0.1:1"})
    assert (done.exit_code, done.stderr) == (1, "NATS does not answer: start it, or set NATS_URL to a running one.\n")
