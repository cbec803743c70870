"""`mkstore provision` on a real nats-server."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from nats.js import JetStreamContext
from typer.testing import CliRunner, Result

from contracts.consumers import PAYMENTS_CREATE_PAYMENTS, durables
from contracts.shards import Shards
from contracts.streams import DEAD_LETTERS, PAYMENT_COMMANDS, PAYMENT_EVENTS, STREAMS, USER_EVENTS, streams_of
from kit.messaging.streams import check, consumer_config, stream_config
from kit.ops.provisioning import main
from mkstore.cli.main import app
from mkstore.rights import documented
from mkstore.stack.servers import Login, NatsServer
from tests.support.service_processes import connect

_DURABLES = durables()
_EVERYTHING = {each.name for each in STREAMS} | {each.name for each in _DURABLES}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    login = Login("gateway", permissions=documented("gateway").permissions())
    with NatsServer(tmp_path_factory.mktemp("nats"), others=[login]) as running:
        yield running


class Operator:
    """Runs the command and changes the streams of one server."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *arguments: str, **environment: str) -> Result:
        environment = {"NATS_URL": self.url, "COLUMNS": "200"} | environment
        return CliRunner().invoke(app, ["provision", *arguments], env=environment)

    def changes(self) -> dict[str, str]:
        """Run the command; return what it did with each stream and consumer."""
        done = self("--json")
        assert done.exit_code == 0, done.output
        return {row["name"]: row["action"] for row in json.loads(done.stdout)}

    def on_streams(self, work: Callable[[JetStreamContext], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            async with connect(self.url) as broker:
                return await work(broker.jetstream)

        return asyncio.run(run())

    def refusal(self, **environment: str) -> str:
        """Run the command, which must fail; return its one sentence."""
        done = self(**environment)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        return done.stderr.strip()


@pytest.fixture
def operator(server: NatsServer) -> Operator:
    """Return an operator of an empty server."""
    operator = Operator(server.admin_url)

    async def clear(jetstream: JetStreamContext) -> None:
        for info in await jetstream.streams_info():
            await jetstream.delete_stream(info.config.name or "")

    operator.on_streams(clear)
    return operator


def test_everything_is_created_once(operator: Operator) -> None:
    assert operator.changes() == dict.fromkeys(_EVERYTHING, "created")
    assert operator.changes() == {}
    assert operator().stdout == "NATS is provisioned already: nothing has changed.\n"
    operator.on_streams(lambda jetstream: check(jetstream, STREAMS))


def test_consumer_under_an_earlier_name_is_named_with_its_removal(operator: Operator) -> None:
    """A work queue refuses a second consumer of a subject; removing the first one removes no message."""
    operator.changes()
    wanted, earlier = consumer_config(PAYMENTS_CREATE_PAYMENTS), "payments-record_payments"
    stream, renamed = PAYMENTS_CREATE_PAYMENTS.stream.name, PAYMENTS_CREATE_PAYMENTS.name

    async def rename(jetstream: JetStreamContext) -> None:
        await jetstream.delete_consumer(stream, renamed)
        await jetstream.add_consumer(stream, replace(wanted, name=earlier, durable_name=earlier))

    operator.on_streams(rename)
    taken = f"The consumer {renamed} cannot be created: {earlier} takes the same messages of {stream} and has"
    removal = f"`nats consumer rm {stream} {earlier}` removes it"
    assert operator.refusal() == f"{taken} none: if no running version uses it, {removal}; then repeat this."

    operator.on_streams(lambda jetstream: jetstream.publish("payments.create.batch.1", b"{}"))
    sentence = f"{taken} 1 of them: run the version that uses it until it has none; then {removal}."
    assert operator.refusal() == sentence

    operator.on_streams(lambda jetstream: jetstream.delete_consumer(stream, earlier))
    assert operator.changes() == {renamed: "created"}
    info = operator.on_streams(lambda jetstream: jetstream.consumer_info(stream, renamed))
    assert info.num_pending == 1


def test_what_is_lost_or_differs_is_repaired(operator: Operator) -> None:
    """A stream takes its consumers along; a message that is kept stays."""
    operator.changes()

    async def damage(jetstream: JetStreamContext) -> None:
        await jetstream.publish("payment.created", b"{}")
        await jetstream.update_stream(stream_config(PAYMENT_EVENTS.model_copy(update={"republish": False})))
        await jetstream.delete_stream(USER_EVENTS.name)
        await jetstream.delete_consumer(_DURABLES[0].stream.name, _DURABLES[0].name)

    operator.on_streams(damage)
    lost = {each.name for each in _DURABLES if each.stream == USER_EVENTS} | {USER_EVENTS.name, _DURABLES[0].name}
    assert operator.changes() == {**dict.fromkeys(lost, "created"), PAYMENT_EVENTS.name: "updated"}
    info = operator.on_streams(lambda jetstream: jetstream.stream_info(PAYMENT_EVENTS.name))
    assert (info.state.messages, info.config.republish.dest) == (1, "stored.>")


def test_stream_of_an_earlier_layout_is_named_with_the_way_out(operator: Operator) -> None:
    old = DEAD_LETTERS.model_copy(update={"retention": "workqueue"})
    operator.on_streams(lambda jetstream: jetstream.add_stream(stream_config(old)))
    refusal = operator.refusal()
    assert refusal.startswith("The stream DEAD_LETTERS is of an earlier version and cannot be updated (")
    assert "to start anew, remove it with its messages (`nats stream rm`) and repeat this" in refusal


def test_replicas_that_the_server_does_not_have_are_refused(operator: Operator) -> None:
    assert operator.refusal(STREAM_REPLICAS="three").startswith("STREAM_REPLICAS must be a number such as 1 or 3")
    assert "NATS refuses to create the stream" in operator.refusal(STREAM_REPLICAS="3")


def test_logins_that_may_not_provision_are_named(server: NatsServer, operator: Operator) -> None:
    wrong = server.admin_url.replace("operator:", "operator:x")
    assert operator.refusal(NATS_URL=wrong) == "NATS refuses the login: correct the user and the password in NATS_URL."
    limited = server.url_as("gateway", server.port)
    assert operator.refusal(NATS_URL=limited) == ("The login in NATS_URL may not change streams: use the operator's.")


@pytest.mark.parametrize(
    "url", ["nats://127.0.0.1:1", "nats://nowhere.invalid:4222", "nats://127.0.0.1:x", "nats://127.0.0.1:99999"]
)
def test_unreachable_server_is_named(operator: Operator, url: str) -> None:
    assert operator.refusal(NATS_URL=url) == "NATS does not answer: start it, or set NATS_URL to its address."


def test_container_provisions_without_mkstore(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NATS_URL", operator.url)
    assert main() == 0
    assert capsys.readouterr().out.startswith("created the stream PAYMENT_COMMANDS\n")
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    assert main() == 1
    assert capsys.readouterr().err == "NATS does not answer: start it, or set NATS_URL to its address.\n"


def test_shards_have_separate_streams_and_consumers(operator: Operator) -> None:
    shards = Shards(2)
    operator.changes()
    expected = {stream.name for stream in streams_of(shards.all)} | {durable.name for durable in durables(shards)}
    done = operator("--json", SHARDS="2")
    assert done.exit_code == 0, done.output
    assert {row["name"] for row in json.loads(done.stdout)} == expected - _EVERYTHING
    assert operator("--json", SHARDS="2").stdout.strip() == "[]"


def test_other_number_of_shards_is_refused_while_commands_wait(operator: Operator) -> None:
    operator("--json")
    operator.on_streams(lambda js: js.publish("payments.create.batch.1", b"{}"))
    try:
        done = operator(SHARDS="2")
        assert done.exit_code == 1
        assert "PAYMENT_COMMANDS has 1 messages that are not recorded, and SHARDS is 2" in done.output
    finally:
        operator.on_streams(lambda js: js.purge_stream(PAYMENT_COMMANDS.name))


@pytest.mark.parametrize("given", ["0", "x", "17"])
def test_impossible_number_of_shards_is_refused(operator: Operator, given: str) -> None:
    done = operator(SHARDS=given)
    assert done.exit_code == 1
    assert "SHARDS must be" in done.output
