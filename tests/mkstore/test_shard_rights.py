"""The rights on NATS with several shards, derived from the documents of one."""

import pytest
from typer.testing import CliRunner

from contracts.consumers import durables
from contracts.shards import Shards
from contracts.streams import STREAMS, streams_of
from mkstore import nats_accounts, rights
from mkstore.cli.main import app
from mkstore.generated import ROOT

TWO = Shards(2)


def test_accounts_of_one_shard_are_the_committed_ones() -> None:
    printed = CliRunner().invoke(app, ["accounts"], env={"SHARDS": ""})
    assert printed.stdout == (ROOT / nats_accounts.FILE).read_text("utf-8")


@pytest.mark.parametrize("login", ["gateway", "payments", "users", "watcher"])
def test_no_login_has_rights_on_what_only_one_shard_has(login: str) -> None:
    every = next(each for each in rights.every(["gateway", "payments", "users"], TWO) if each.login == login)
    sharded = [stream for stream in STREAMS if stream.sharded]
    names = {stream.name for stream in sharded}
    assert not [right for right in every.api | every.acknowledges if names & set(right.split("."))]
    subjects = {subject for stream in sharded for subject in stream.subjects}
    sent = every.publishes | every.requests | every.answers | every.follows
    assert not sent & (
        subjects | {f"stored.{subject}" for subject in subjects} | {"payments.get_many", "payments.list"}
    )


def test_payments_may_consume_what_its_shards_consume() -> None:
    own = rights.documented("payments", TWO)
    for durable in durables(TWO):
        place = f"{durable.stream.name}.{durable.name}"
        assert {f"CONSUMER.INFO.{place}", f"CONSUMER.MSG.NEXT.{place}"} <= own.api
        assert f"$JS.ACK.{place}.>" in own.acknowledges
    assert {"payment.0of2.created", "payment.0of2.created.*", "payment.1of2.rejected.*"} <= own.publishes
    assert {"dead.payments.1of2.create.key.*", "dead.payment.0of2.created.1of2", "dead.user.created"} <= own.publishes
    assert {"payments.0of2.get_many", "payments.1of2.reject"} <= own.answers
    assert {f"STREAM.PURGE.KEYED_PAYMENT_COMMANDS_{number}OF2" for number in range(2)} <= own.api


def test_gateway_may_reach_every_shard() -> None:
    own = rights.documented("gateway", TWO)
    assert {"payments.0of2.create.batch.*", "payments.1of2.create.key.*"} <= own.publishes
    assert {"payments.0of2.list", "payments.1of2.get_many", "users.get_many"} <= own.requests
    assert {"stored.payment.0of2.*", "stored.payment.1of2.*.*", "stored.user.*"} <= own.follows


def test_watcher_may_look_at_every_stream() -> None:
    own = rights.of_watcher(TWO)
    assert {f"STREAM.INFO.{stream.name}" for stream in streams_of(TWO.all)} <= own.api
