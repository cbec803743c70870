"""What NATS stores and delivers, compared with the documents of the services."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import ConsumerConfig

from contracts.streams import KEYED_PAYMENT_COMMANDS, PAYMENT_COMMANDS, USER_EVENTS
from kit.errors import HealthWarning
from kit.messaging.broker import Broker
from kit.messaging.streams import stream_config
from kit.ops.provisioning import Sizes, provision
from mkstore import subject_check
from mkstore.generated import ROOT
from mkstore.services import SERVICES
from mkstore.stack.servers import NatsServer
from tests.support.service_processes import connect

NAMES = [spec.name for spec in SERVICES]


@pytest.fixture
async def broker(nats: NatsServer) -> AsyncIterator[Broker]:
    """Return the operator's connection to a server that is provisioned."""
    await provision(nats.admin_url, Sizes())
    async with connect(nats.admin_url) as broker:
        yield broker


async def findings(broker: Broker, root: Path = ROOT) -> dict[str, str]:
    """Return the warnings of all checks by name."""
    warnings = {}
    for name, check in subject_check.checks(broker, NAMES, root).items():
        try:
            assert await check() is None
        except HealthWarning as warning:
            warnings[name] = str(warning)
    return warnings


def documents(folder: Path, **changed: Any) -> Path:
    """Return a folder with the documents, where those in `changed` are replaced."""
    (folder / "asyncapi").mkdir()
    for service in NAMES:
        document = changed.get(service) or json.loads((ROOT / f"asyncapi/{service}.json").read_text("utf-8"))
        (folder / f"asyncapi/{service}.json").write_text(json.dumps(document), "utf-8")
    return folder


def without(service: str, operation: str) -> Any:
    """Return the document of a service without one operation."""
    document = json.loads((ROOT / f"asyncapi/{service}.json").read_text("utf-8"))
    del document["operations"][operation]
    return document


STORED = """
import json
from apps.gateway.main import app as gateway
from apps.payments.main import app as payments
from apps.users.main import app as users
stored = [app.schema.stored_subjects() for app in (users, payments, gateway)]
print(json.dumps({stream.name: sorted(subjects) for each in stored for stream, subjects in each.items()}))
"""


def test_services_and_documents_name_the_same_subjects() -> None:
    # In a new process: a router belongs to the last app that was built with it.
    done = subprocess.run([sys.executable, "-c", STORED], capture_output=True, text=True, check=True, cwd=ROOT)
    documented = {stream.name: sorted(subjects) for stream, subjects in subject_check.handled(NAMES).items()}
    assert json.loads(done.stdout.splitlines()[-1]) == documented


async def test_provisioned_server_has_no_findings(broker: Broker) -> None:
    assert await findings(broker) == {}


async def test_all_documented_subjects_are_handled(broker: Broker) -> None:
    subjects = [subject for each in subject_check.handled(NAMES).values() for subject in each]
    assert {"payments.create.key.*", "user.created", "revocations.session.*", "public_keys.current"} <= set(subjects)
    for subject in subjects:
        await broker.jetstream.publish(subject.replace("*", "x"), b"{}")
    assert await findings(broker) == {}


async def test_event_that_no_document_publishes_is_found(broker: Broker) -> None:
    await broker.jetstream.publish("user.renamed", b"{}")
    assert await findings(broker) == {
        "subjects": "USER_EVENTS has messages on user.renamed (1), which users neither publishes nor consumes: deploy "
        "the version of users that does, or stop what publishes them; they leave the stream after 7 days."
    }


async def test_command_without_a_consumer_is_found(broker: Broker) -> None:
    """An earlier version had another subject, and its stream has not become empty."""
    current = stream_config(PAYMENT_COMMANDS)
    await broker.jetstream.update_stream(replace(current, subjects=[*(current.subjects or ()), "payments.create.old"]))
    await broker.jetstream.publish("payments.create.old", b"{}")
    await broker.jetstream.update_stream(current)
    found = await findings(broker)
    assert found.keys() == {"subjects"}
    assert "PAYMENT_COMMANDS has messages on payments.create.old (1), which payments neither" in found["subjects"]
    assert found["subjects"].endswith(
        "`nats stream purge PAYMENT_COMMANDS --subject=payments.create.old` removes them."
    )
    await broker.jetstream.purge_stream(PAYMENT_COMMANDS.name, subject="payments.create.old")  # as the warning says
    assert await findings(broker) == {}


async def test_command_that_no_document_consumes_is_found(broker: Broker, tmp_path: Path) -> None:
    root = documents(tmp_path, payments=without("payments", "payments.consumes.CreatePayment"))
    await broker.jetstream.publish("payments.create.key.x", b"{}")
    found = await findings(broker, root)
    assert found.keys() == {"subjects", "other consumers"}
    assert f"{KEYED_PAYMENT_COMMANDS.name} has messages on payments.create.key.x (1)" in found["subjects"]
    assert found["other consumers"] == (
        "The consumer payments-create_payment of KEYED_PAYMENT_COMMANDS is in no document, and 1 of its messages wait: "
        "if no running version and no other program uses it, remove it with "
        "`nats consumer rm KEYED_PAYMENT_COMMANDS payments-create_payment`."
    )


async def test_consumer_of_no_document_is_found(broker: Broker) -> None:
    await broker.jetstream.publish("user.created", b"{}")
    config = ConsumerConfig(durable_name="mails-greet", filter_subject="user.created")
    await broker.jetstream.add_consumer(USER_EVENTS.name, config)
    temporary = await broker.jetstream.pull_subscribe("user.created", stream=USER_EVENTS.name)  # not durable
    found = await findings(broker)
    await temporary.unsubscribe()
    assert found.keys() == {"other consumers"}
    assert "The consumer mails-greet of USER_EVENTS is in no document, and 1 of" in found["other consumers"]
    assert found["other consumers"].count("The consumer") == 1


async def test_documented_consumer_that_does_not_exist_is_found(broker: Broker, tmp_path: Path) -> None:
    document = json.loads((ROOT / "asyncapi/payments.json").read_text("utf-8"))
    consumer = document["operations"]["payments.consumes.UserCreated"]["x-nats"]["consumer"]
    consumer["durable"] = "payments-welcome"
    found = await findings(broker, documents(tmp_path, payments=document))
    assert found.keys() == {"other consumers"}
    assert "payments-open_payer of USER_EVENTS is in no document" in found["other consumers"]
    assert found["other consumers"].endswith(
        "The consumer payments-welcome of USER_EVENTS is documented and does not exist: run `mkstore docs`, then "
        "`mkstore provision`."
    )


async def test_stream_of_no_document_is_found(broker: Broker) -> None:
    await broker.jetstream.add_stream(name="ORDERS", subjects=["orders.create.*", "order.*"])
    assert await findings(broker) == {
        "other streams": "The stream ORDERS stores orders.create.*, order.*, which no document describes: if no other "
        "program uses it, remove it with `nats stream rm ORDERS`."
    }


async def test_every_consumer_of_a_long_list_is_compared(broker: Broker) -> None:
    for number in range(260):  # JetStream lists 256 at a time
        config = ConsumerConfig(durable_name=f"x{number:03}", filter_subject="user.created")
        await broker.jetstream.add_consumer(USER_EVENTS.name, config)
    found = (await findings(broker))["other consumers"]
    assert (found.count("The consumer"), "The consumer x009 of USER_EVENTS" in found) == (10, True)
    assert found.endswith("And 250 more.")


async def test_missing_document_is_a_warning_with_the_command(broker: Broker, tmp_path: Path) -> None:
    root = documents(tmp_path)
    (root / "asyncapi/users.json").unlink()
    text = "asyncapi/users.json is missing, so it cannot be compared with NATS: run `mkstore docs`."
    assert await findings(broker, root) == {"subjects": text, "other consumers": text}


async def test_missing_stream_is_left_to_its_check(broker: Broker) -> None:
    await broker.jetstream.delete_stream(USER_EVENTS.name)
    assert await findings(broker) == {}
