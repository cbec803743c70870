"""The AsyncAPI documents match the wire: every message is documented, and every documented message is sent."""

import hashlib
import json
import uuid
from typing import Any

import httpx
import nats

from contracts.payments import CreatePayment
from contracts.streams import STREAMS
from kit.messaging.broker import Broker
from mkstore.chaos.faults import OVERSIZED_EVENT
from mkstore.contract_check import running
from mkstore.services import SERVICES
from mkstore.stack.servers.nats import MAX_PAYLOAD
from tests.conftest import ROOT
from tests.support.golden import check_golden
from tests.support.http_client import PASSWORD, operator, sign_up, sign_up_admin, unused_email
from tests.support.polling import eventually
from tests.support.running_store import Running
from tests.support.wire_tap import Documents, WireMessage, record_messages

NAMES = [spec.name for spec in SERVICES]
LATE = {"key.rotated"}
"""Sent five minutes after a rotation has begun; tests/e2e/test_key_rotation.py shortens that time, and checks it."""


async def test_wire_and_documents_have_the_same_messages(store: Running, http: httpx.AsyncClient) -> None:
    documents = Documents()
    with record_messages(store) as recorded:
        invalid_subject = await send_everything(store, http)

        def unseen_messages() -> set[str]:
            return documents.names - documents.check(list(recorded))[0].keys() - LATE

        await eventually(lambda: not unseen_messages(), describe=unseen_messages)
    examples, faults = documents.check(message for message in recorded if message.subject != invalid_subject)
    assert not faults, "\n".join(faults)
    check_golden(examples)


def test_undocumented_messages_are_detected() -> None:
    headers = {"content-type": "application/json"}
    request = WireMessage("users.update", "_INBOX.1", headers, b'{"id": "0198c5c8-7c1e-7a52-9d3b-4f1e8a6b2c01"}')
    wrong = [
        WireMessage("users.vanish", "", headers, b"{}"),
        WireMessage("users.update", "", headers, b'{"id": "Ada"}'),
        WireMessage("users.update", "", headers | {"X-Secret": "1"}, request.body),
        WireMessage("users.update", "", {}, request.body),
        WireMessage("_INBOX.1", "", headers, b'{"id": 1}'),
        WireMessage("_INBOX.1", "", headers, b"{}"),
        WireMessage("payment.created", "", headers, b"no json"),
    ]
    for message in wrong:
        assert Documents().check([request, message])[1], message
    assert Documents().check([request, WireMessage("_INBOX.2", "", {}, b"anything")])[1] == []


async def test_running_services_publish_their_document_and_its_hash(store: Running, http: httpx.AsyncClient) -> None:
    broker = Broker(store.record["nats"]["admin_url"], name="test")
    await broker.connect()
    processes = {process.name: process for process in await running(broker, NAMES)}
    await broker.stop()
    assert processes.keys() == set(NAMES)
    for name, process in processes.items():
        assert process.sha256 == hashlib.sha256((ROOT / f"asyncapi/{name}.json").read_bytes()).hexdigest()
        address = (process.metadata or {})["asyncapi.url"]
        assert address.startswith(store.url)
        assert hashlib.sha256((await http.get(address)).content).hexdigest() == process.sha256


async def send_everything(store: Running, http: httpx.AsyncClient) -> str:
    """Make the services send every documented message; return the subject of one invalid command."""
    invalid_subject = CreatePayment.address_of(uuid.uuid4())
    ada, admin = await sign_up(http), await sign_up_admin(http, store)
    await ada("PATCH", f"/users/{ada.id}", json={"name": "Ada"})
    changed = {"currentPassword": PASSWORD, "newPassword": f"{PASSWORD} with one more word"}
    await ada("PUT", f"/users/{ada.id}/password", json=changed)
    await admin("GET", "/users", params={"limit": 1})
    await http.post("/users", json={"email": ada.email, "password": PASSWORD})  # taken
    payment = await ada.paid(key=uuid.uuid4().hex)
    await ada.paid(2**53 - 1)  # rejected
    await ada("GET", "/payments")
    await ada("GET", f"/payments/{uuid.uuid4()}")  # none
    client = await nats.connect(store.record["nats"]["admin_url"])
    try:
        headers = {"content-type": "application/json"}

        async def request(subject: str, **body: Any) -> None:
            await client.request(subject, json.dumps(body).encode(), headers=headers)

        await request("users.get_many", ids=[ada.id])
        await request("users.delete", id=str(uuid.uuid4()))
        await request("users.jwks")
        await request("payments.get_many", ids=[payment["id"]])
        rejected = {name: payment[name] for name in ("userId", "amount", "currency", "metadata", "createdAt")}
        await request("payments.reject", command=rejected | {"id": str(uuid.uuid4())})
        await client.jetstream().publish(
            invalid_subject, b'{"amount": "much"}', headers=headers | {"Nats-Msg-Id": invalid_subject}
        )
    finally:
        await client.close()
    await (await sign_up(http, unused_email()))("GET", "/users/me")
    credentials = {"email": ada.email, "password": changed["newPassword"]}
    other = (await http.post("/auth/sessions", json=credentials)).json()
    await http.post("/auth/sessions/refresh", json={"refreshToken": other["refreshToken"]})
    await operator(store, "keys", "list")
    (following,) = json.loads(await operator(store, "keys", "rotate", "--json"))
    await operator(store, "keys", "withdraw", following["kid"])
    await settle_refused_events(store)
    await ada("GET", "/auth/sessions")
    await ada("DELETE", f"/auth/sessions/{other['id']}")
    await ada("DELETE", f"/users/{ada.id}", json={"currentPassword": changed["newPassword"]})
    return invalid_subject


async def settle_refused_events(store: Running) -> None:
    """Let the relays of both services give up an event that is larger than NATS accepts, and discard it."""
    for service in ("users", "payments"):
        async with store.database(f"{service}_db") as connection:
            await connection.execute(OVERSIZED_EVENT, uuid.uuid4(), uuid.uuid4(), b"{}".ljust(MAX_PAYLOAD + 1))

    async def listed() -> list[str]:
        rows = json.loads(await operator(store, "dead-letters", "list", "--reason", "refused", "--json"))
        return [row["id"] for row in rows]

    async def both_listed() -> list[str]:
        return ids if len(ids := await listed()) == 2 else []

    ids = await eventually(both_listed)
    assert [each.partition(":")[0] for each in ids] == ["users", "payments"]
    shown = json.loads(await operator(store, "dead-letters", "show", ids[0], "--json"))
    assert (shown["subject"], shown["detail"]) == ("payment.created", "It is larger than NATS accepts.")
    assert "1 replayed" in await operator(store, "dead-letters", "replay", ids[0])
    await eventually(both_listed)  # given up again
    assert "2 discarded" in await operator(store, "dead-letters", "discard", *ids, "--yes")
    assert await listed() == []


async def test_live_figures_have_no_content_of_messages(store: Running, http: httpx.AsyncClient) -> None:
    ada = await sign_up(http)
    await ada.paid()
    answer = await http.get("/asyncapi/live.json")
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert {process["service"] for process in seen["processes"]} == set(NAMES)
    streams = {stream["name"]: stream for stream in seen["streams"]}
    assert set(streams) == {stream.name for stream in STREAMS}
    assert streams["USER_EVENTS"]["last_sequence"] > 0
    assert "payments-create_payments" in {consumer["name"] for consumer in streams["PAYMENT_COMMANDS"]["consumers"]}
    assert streams["PAYMENT_EVENTS"]["last"][-1]["body"]["payment"]["amount"] == "number"
    assert ada.email not in answer.text
    assert ada.id not in answer.text
