"""A payment that cannot be recorded: the others do not wait, and an operator replays or discards its command."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from typer.testing import CliRunner

from apps.payments.settings import Settings
from contracts.headers import REQUEST_ID
from contracts.payments import CreatePayment, GetPayments, PaymentRejected, PaymentStatus, PaymentView
from contracts.streams import KEYED_PAYMENT_COMMANDS
from kit import database
from kit.runtime.tracing import TRACEPARENT
from mkstore.cli.main import app
from tests.support.payment_commands import new_command
from tests.support.payments_harness import OnServers, on_servers
from tests.support.polling import eventually

POISON = 777_777
"""The amount that the database refuses inside `poison_refused`."""


@asynccontextmanager
async def poison_refused(settings: Settings) -> AsyncIterator[None]:
    """Let the database refuse `POISON` until the block ends."""
    address = database.url(settings).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(
            f"ALTER TABLE payments ADD CONSTRAINT poison_refused CHECK (amount <> {POISON}) NOT VALID"
        )
        try:
            yield
        finally:
            await connection.execute("ALTER TABLE payments DROP CONSTRAINT poison_refused")
    finally:
        await connection.close()


async def operator(settings: Settings, *command: str) -> tuple[int, Any]:
    """Run `mkstore dead-letters`; return its exit code and its JSON, or its error text."""
    run = partial(CliRunner().invoke, app, ["dead-letters", *command, "--json"], env={"NATS_URL": settings.nats_url})
    result = await asyncio.to_thread(run)
    return result.exit_code, json.loads(result.stdout) if result.stdout else result.stderr


async def letters(settings: Settings, payment: UUID) -> list[dict[str, Any]]:
    code, listed = await operator(settings, "list", "--subject", CreatePayment.address_of(payment))
    assert code == 0
    return list(listed)


async def dead_letter(service: OnServers, settings: Settings, payment: UUID) -> str:
    """Return the id of a payment's dead letter, once there is one."""
    await eventually(partial(service.dead_letter_reason, payment))
    [letter] = await letters(settings, payment)
    return str(letter["id"])


async def recorded(service: OnServers, commands: list[CreatePayment]) -> list[PaymentView]:
    ids = tuple(each.id for each in commands)
    views = (await service.request(GetPayments(ids=ids))).payments
    return [view for view in views if view.status is not PaymentStatus.PENDING]


async def test_no_payment_waits_for_one_that_is_retried(settings: Settings) -> None:
    before_utc = datetime.fromisoformat("0001-01-01T00:00:00+14:00")  # valid in the contract, but not in UTC
    good, failing = [new_command() for _ in range(100)], new_command(created_at=before_utc)
    patient = settings.model_copy(update={"delivery_first_delay": 600, "delivery_max_delay": 600})
    async with on_servers(patient) as service:
        await service.send(*good[:50], failing, *good[50:])

        async def all_recorded() -> bool:
            return len(await recorded(service, good)) == len(good)

        await eventually(all_recorded)
        assert await service.get(failing.id) == failing.pending()
        assert await service.dead_letter_reason(failing.id) is None  # it waits for its second attempt
        await service.broker.jetstream.purge_stream(KEYED_PAYMENT_COMMANDS.name, subject=failing.address)


async def test_a_dead_letter_can_be_replayed_when_its_cause_is_fixed(
    real_service: OnServers, settings: Settings
) -> None:
    poison, unreadable = new_command(amount=POISON), uuid4()
    async with poison_refused(settings):
        await real_service.send(poison, request_id="r-poison")
        await real_service.broker.jetstream.publish(CreatePayment.address_of(unreadable), b'{"amount": "much"}')
        letter, other = (
            await dead_letter(real_service, settings, poison.id),
            await dead_letter(real_service, settings, unreadable),
        )
        assert await real_service.get(poison.id) == poison.pending()
        shown = (await operator(settings, "show", letter))[1]
        assert (shown["body"]["id"], shown["requestId"]) == (str(poison.id), "r-poison")
        # Until the cause is fixed it is dead-lettered again.
        assert await operator(settings, "replay", letter) == (0, {"replayed": 1, "failed": [], "stopped": None})
        again = await dead_letter(real_service, settings, poison.id)
        assert again != letter
        assert (await operator(settings, "replay", letter))[0] == 1
    assert [len(await letters(settings, each)) for each in (poison.id, unreadable)] == [1, 1]
    assert (await operator(settings, "replay", again))[0] == 0
    view = await real_service.recorded(poison.id)
    assert (view.status, view.amount) == (PaymentStatus.CREATED, POISON)
    [published] = await real_service.published_events(poison.id, 1)
    assert published.headers[REQUEST_ID] == "r-poison"
    assert await letters(settings, poison.id) == []
    assert (await operator(settings, "replay", other))[0] == 0  # nothing can fix this one
    assert await dead_letter(real_service, settings, unreadable) != other


async def test_a_replayed_payment_is_never_unknown(real_service: OnServers, settings: Settings) -> None:
    commands = [new_command(amount=POISON) for _ in range(100)]
    async with poison_refused(settings):
        await real_service.send(*commands)
        for each in commands:
            await eventually(lambda each=each: real_service.dead_letter_reason(each.id))  # type: ignore[misc]
    replaying = asyncio.create_task(operator(settings, "replay", "--subject", "payments.create.>"))
    ids = tuple(each.id for each in commands)
    lookups = 0
    while len(await recorded(real_service, commands)) < len(commands):
        assert len((await real_service.request(GetPayments(ids=ids))).payments) == len(commands)
        lookups += 1
    assert lookups
    await replaying


async def test_a_discarded_payment_is_rejected(real_service: OnServers, settings: Settings) -> None:
    poison, unreadable = new_command(amount=POISON), uuid4()
    parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    async with poison_refused(settings):
        await real_service.broker.jetstream.publish(
            poison.address,
            poison.model_dump_json().encode(),
            headers={REQUEST_ID: "r1", TRACEPARENT: parent, "content-type": "application/json"},
        )
        await real_service.broker.jetstream.publish(CreatePayment.address_of(unreadable), b"{}")
        letter, other = (
            await dead_letter(real_service, settings, poison.id),
            await dead_letter(real_service, settings, unreadable),
        )
        code, report = await operator(settings, "discard", letter, "--yes")
        assert (code, report["discarded"]) == (1, 0)  # the database does not take a rejection of this amount either
        assert "its payment cannot be rejected" in report["failed"][0]["reason"]
        assert await real_service.get(poison.id) == poison.pending()
    assert (await operator(settings, "discard", letter, other, "--yes"))[1]["discarded"] == 2
    rejected = poison.pending().model_copy(update={"status": PaymentStatus.REJECTED, "reason": "given-up"})
    assert await real_service.get(poison.id) == rejected
    [published] = await real_service.published_events(poison.id, 1)
    assert published.event == PaymentRejected(payment=rejected)
    assert (published.headers[REQUEST_ID], published.headers[TRACEPARENT]) == ("r1", parent)
    assert [await letters(settings, each) for each in (poison.id, unreadable)] == [[], []]


async def test_a_payment_discarded_unanswered_is_unknown(real_service: OnServers, settings: Settings) -> None:
    poison = new_command(amount=POISON)
    async with poison_refused(settings):
        await real_service.send(poison)
        letter = await dead_letter(real_service, settings, poison.id)
        assert (await operator(settings, "discard", letter, "--yes", "--unanswered"))[0] == 0
    assert await real_service.get(poison.id) is None
