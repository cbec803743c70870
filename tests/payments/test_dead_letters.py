"""A payment that cannot be recorded: its neighbours do not wait, and an operator mends it or gives it up."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from typer.testing import CliRunner

from apps.payments.settings import Settings
from contracts.headers import REQUEST_ID
from contracts.payments import CreatePayment, GetPayments, PaymentStatus, PaymentView
from kit import database
from kit.runtime.tracing import TRACEPARENT
from mkstore.cli.main import app
from tests.support.payments_harness import ForReal, order
from tests.support.polling import eventually

POISON = 777_777
"""The amount that the database refuses while it is out of order."""


@asynccontextmanager
async def out_of_order(settings: Settings) -> AsyncIterator[None]:
    """Let the database refuse one amount."""
    address = database.url(settings).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(address)
    try:
        await connection.execute(
            f"ALTER TABLE payments ADD CONSTRAINT out_of_order CHECK (amount <> {POISON}) NOT VALID"
        )
        try:
            yield
        finally:
            await connection.execute("ALTER TABLE payments DROP CONSTRAINT out_of_order")
    finally:
        await connection.close()


async def operator(settings: Settings, *command: str) -> tuple[int, Any]:
    """Run an operator's command; returns its exit code and what it told in JSON."""
    run = partial(CliRunner().invoke, app, ["dead-letters", *command, "--json"], env={"NATS_URL": settings.nats_url})
    done = await asyncio.to_thread(run)
    return done.exit_code, json.loads(done.stdout) if done.stdout else done.stderr


async def letters(settings: Settings, payment: UUID) -> list[dict[str, Any]]:
    found = await operator(settings, "list", "--subject", CreatePayment.address_of(payment))
    assert found[0] == 0
    return list(found[1])


async def a_letter(settings: Settings, payment: UUID) -> str:
    return str((await eventually(partial(letters, settings, payment)))[0]["id"])


async def recorded(service: ForReal, orders: list[CreatePayment]) -> list[PaymentView]:
    ids = tuple(each.id for each in orders)
    views = (await service.ask(GetPayments(ids=ids))).payments
    return [view for view in views if view.status is not PaymentStatus.PENDING]


async def test_a_poison_among_a_thousand_delays_nobody_and_is_replayed_once_it_can_be(
    real_service: ForReal, settings: Settings
) -> None:
    good, poison, unreadable = [order() for _ in range(1000)], order(amount=POISON), uuid4()
    async with out_of_order(settings):
        began = time.monotonic()
        await real_service.send(*good[:500])
        await real_service.send(poison, request_id="r-poison")
        await real_service.broker.jetstream.publish(CreatePayment.address_of(unreadable), b'{"amount": "much"}')
        await real_service.send(*good[500:])

        async def all_recorded() -> bool:
            return len(await recorded(real_service, good)) == len(good)

        await eventually(all_recorded)
        seconds = time.monotonic() - began
        letter, other = await a_letter(settings, poison.id), await a_letter(settings, unreadable)
        assert await real_service.get(poison.id) == poison.pending()
        shown = (await operator(settings, "show", letter))[1]
        assert (shown["body"]["id"], shown["requestId"]) == (str(poison.id), "r-poison")
        # Before the cause is mended it comes back, and is never unknown meanwhile.
        assert await operator(settings, "replay", letter) == (0, {"replayed": 1, "failed": [], "stopped": None})
        again = await a_letter(settings, poison.id)
        assert again != letter
        assert (await operator(settings, "replay", letter))[0] == 1
    assert [len(await letters(settings, each)) for each in (poison.id, unreadable)] == [1, 1]
    assert (await operator(settings, "replay", again))[0] == 0
    view = await real_service.recorded(poison.id)
    assert (view.status, view.amount) == (PaymentStatus.CREATED, POISON)
    [sent] = await eventually(partial(real_service.told, poison.id))
    assert sent.headers[REQUEST_ID] == "r-poison"
    assert await letters(settings, poison.id) == []
    assert (await operator(settings, "replay", other))[0] == 0  # it goes, and comes back: nothing mends it
    assert await a_letter(settings, unreadable) != other
    assert seconds < 10


async def test_a_payment_that_is_replayed_is_never_unknown(real_service: ForReal, settings: Settings) -> None:
    orders = [order(amount=POISON) for _ in range(100)]
    async with out_of_order(settings):
        await real_service.send(*orders)
        for each in orders:
            await eventually(lambda each=each: real_service.dead(each.id))  # type: ignore[misc]
    replaying = asyncio.create_task(operator(settings, "replay", "--subject", "payments.create.*"))
    ids = tuple(each.id for each in orders)
    looks = 0
    while len(await recorded(real_service, orders)) < len(orders):
        assert len((await real_service.ask(GetPayments(ids=ids))).payments) == len(orders)
        looks += 1
    assert looks
    await replaying


async def test_a_payment_that_is_discarded_is_shown_as_rejected(real_service: ForReal, settings: Settings) -> None:
    poison, unreadable = order(amount=POISON), uuid4()
    parent = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    async with out_of_order(settings):
        await real_service.broker.jetstream.publish(
            poison.address,
            poison.model_dump_json().encode(),
            headers={REQUEST_ID: "r1", TRACEPARENT: parent, "content-type": "application/json"},
        )
        await real_service.broker.jetstream.publish(CreatePayment.address_of(unreadable), b"{}")
        letter, other = await a_letter(settings, poison.id), await a_letter(settings, unreadable)
        code, told = await operator(settings, "discard", letter, "--yes")
        assert (code, told["discarded"]) == (1, 0)  # the database does not take a rejection of this amount either
        assert "its payment cannot be rejected" in told["failed"][0]["reason"]
        assert await real_service.get(poison.id) == poison.pending()
    assert (await operator(settings, "discard", letter, other, "--yes"))[1]["discarded"] == 2
    rejected = poison.pending().model_copy(update={"status": PaymentStatus.REJECTED, "reason": "given-up"})
    assert await real_service.get(poison.id) == rejected
    [sent] = await eventually(partial(real_service.told, poison.id))
    assert (sent.event.payment, sent.headers[REQUEST_ID], sent.headers[TRACEPARENT]) == (rejected, "r1", parent)
    assert [await letters(settings, each) for each in (poison.id, unreadable)] == [[], []]


async def test_what_is_discarded_without_an_answer_is_unknown(real_service: ForReal, settings: Settings) -> None:
    poison = order(amount=POISON)
    async with out_of_order(settings):
        await real_service.send(poison)
        letter = await a_letter(settings, poison.id)
        assert (await operator(settings, "discard", letter, "--yes", "--unanswered"))[0] == 0
    assert await real_service.get(poison.id) is None
