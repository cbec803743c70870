"""Payments are found from the moment that they are accepted, and listed page by page."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid4

import pytest

from apps.payments import requests
from contracts.base import Request
from contracts.errors import ErrorKind
from contracts.payments import (
    CreatePayment,
    GetPayments,
    ListPayments,
    PaymentList,
    PaymentRejected,
    PaymentStatus,
    PaymentView,
    RejectPayment,
)
from contracts.streams import KEYED_PAYMENT_COMMANDS
from mkstore.stack.servers import NatsServer
from mkstore.testing.fakes.payments import FakePayments, PaymentsData
from tests.support.payment_commands import new_command
from tests.support.payments_harness import LIMIT, FakePending, OnServers, PaymentsService
from tests.support.provisioning import provision


async def test_an_unrecorded_payment_is_pending(service: PaymentsService) -> None:
    command = new_command(metadata={"order": "A-1"})
    async with service.table_locked():
        await service.send(command)
        assert await service.get(command.id) == command.pending()
        assert (await service.request(GetPayments(ids=(command.id,)))).payments == (command.pending(),)
    assert (await service.recorded(command.id)).status is PaymentStatus.CREATED


async def test_a_payment_rejected_by_an_operator_is_recorded_and_published(service: PaymentsService) -> None:
    command = new_command()
    rejected = command.pending().model_copy(update={"status": PaymentStatus.REJECTED, "reason": "given-up"})
    for _ in range(2):
        assert await service.request(RejectPayment(command=command)) == rejected
    assert await service.get(command.id) == rejected
    [published] = await service.published_events(command.id, 1)
    assert published.event == PaymentRejected(payment=rejected)
    await service.send(command)  # a repeated command changes nothing
    await service.send(last := new_command())
    await service.recorded(last.id)
    assert await service.recorded(command.id) == rejected


async def test_a_recorded_payment_cannot_be_rejected(service: PaymentsService) -> None:
    command = new_command()
    await service.send(command)
    recorded = await service.recorded(command.id)
    assert await service.request(RejectPayment(command=command)) == recorded
    assert await service.get(command.id) == recorded


async def test_unknown_payments_are_left_out(service: PaymentsService) -> None:
    unknown, recorded, waiting = uuid4(), new_command(), new_command()
    await service.send(recorded)
    view = await service.recorded(recorded.id)
    assert await service.get(unknown) is None
    async with service.table_locked():
        await service.send(waiting)
        ids = (unknown, recorded.id, waiting.id, recorded.id, waiting.id)
        views = (await service.request(GetPayments(ids=ids))).payments
    assert sorted(views, key=lambda each: each.status) == [view, waiting.pending()]
    assert (await service.request(GetPayments(ids=()))).payments == ()


async def test_a_payment_is_never_unknown_while_it_is_recorded(service: PaymentsService) -> None:
    commands = [new_command() for _ in range(50)]
    for start in range(0, 50, 10):
        batch = commands[start : start + 10]
        await service.send(*batch)
        for _ in range(10):
            views = (await service.request(GetPayments(ids=tuple(command.id for command in batch)))).payments
            assert {view.id for view in views} == {command.id for command in batch}
    for command in commands:
        await service.recorded(command.id)


async def test_a_payment_recorded_between_two_lookups_is_found() -> None:
    table, command = PaymentsData(), new_command()

    async def find(_: Collection[UUID], *, queued: bool) -> list[CreatePayment]:
        assert queued
        view = command.pending().model_copy(update={"status": PaymentStatus.CREATED})
        table.rows[command.id] = view  # recorded meanwhile, and no longer in the stream
        return []

    reply = await requests.get_payments(
        GetPayments(ids=(command.id,)),
        FakePayments(table),
        FakePending(find),
    )
    assert [view.id for view in reply.payments] == [command.id]


async def test_unknown_payment_is_unavailable_while_the_stream_is_missing(
    real_service: OnServers, nats_server: NatsServer
) -> None:
    command = new_command()
    await real_service.send(command)
    view = await real_service.recorded(command.id)
    await real_service.broker.jetstream.delete_stream(KEYED_PAYMENT_COMMANDS.name)
    problem = await real_service.request_refused(GetPayments(ids=(uuid4(),)))
    assert (problem.kind, problem.slug) == (ErrorKind.UNAVAILABLE, "service-unavailable")
    problem = await real_service.request_refused(GetPayments(ids=(command.id, uuid4())))
    assert problem.kind == ErrorKind.UNAVAILABLE
    assert await real_service.get(command.id) == view

    provision(nats_server.url)
    assert await real_service.get(uuid4()) is None
    last = new_command()
    await real_service.send(last)
    await real_service.recorded(last.id)


class InvalidGetPayments(Request[PaymentList]):
    subject: ClassVar[str] = GetPayments.subject
    ids: str | None = None


@pytest.mark.parametrize("invalid", [InvalidGetPayments(), InvalidGetPayments(ids="text")], ids=repr)
async def test_an_invalid_request_is_refused(real_service: OnServers, invalid: InvalidGetPayments) -> None:
    problem = await real_service.request_refused(invalid)
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert [error.pointer for error in problem.errors] == ["/ids"]


async def read_pages(service: PaymentsService, request: ListPayments) -> list[PaymentView]:
    views: list[PaymentView] = []
    cursor = None
    while True:
        page = await service.request(request.model_copy(update={"cursor": cursor}))
        assert len(page.data) <= request.limit
        views += page.data
        if page.next_cursor is None:
            return views
        assert len(page.data) == request.limit
        cursor = page.next_cursor


async def test_payments_are_listed_newest_first_by_user_and_status(service: PaymentsService) -> None:
    ada, grace, start = uuid4(), uuid4(), datetime.now(UTC)
    commands = [
        new_command(
            user_id=grace if number % 5 == 0 else ada,
            amount=LIMIT + 1 if number % 3 == 0 else 1,
            created_at=start - timedelta(seconds=number // 4),  # four have the same time: the id decides
        )
        for number in range(40)
    ]
    await service.send(*commands)
    views = [await service.recorded(command.id) for command in commands]
    for user in (ada, grace):
        for status in (None, PaymentStatus.CREATED, PaymentStatus.REJECTED, PaymentStatus.PENDING):
            expected = sorted(
                (view for view in views if view.user_id == user and status in {None, view.status}),
                key=lambda view: (view.created_at, view.id),
                reverse=True,
            )
            for limit in (1, 7, 100):
                assert await read_pages(service, ListPayments(user_id=user, status=status, limit=limit)) == expected
    mixed = (await service.request(ListPayments(limit=100))).data
    assert {ada, grace} <= {view.user_id for view in mixed}
    assert list(mixed) == sorted(mixed, key=lambda view: (view.created_at, view.id), reverse=True)


async def test_new_payments_do_not_move_pages(service: PaymentsService) -> None:
    user, start = uuid4(), datetime.now(UTC)
    commands = [new_command(user_id=user, created_at=start - timedelta(seconds=number)) for number in range(9)]
    await service.send(*commands)
    for command in commands:
        await service.recorded(command.id)
    seen: list[UUID] = []
    cursor = None
    for number in range(3):
        page = await service.request(ListPayments(user_id=user, limit=3, cursor=cursor))
        seen += [view.id for view in page.data]
        cursor = page.next_cursor
        newer = new_command(user_id=user, created_at=start + timedelta(seconds=number + 1))
        await service.send(newer)
        await service.recorded(newer.id)
    assert seen == [command.id for command in commands]
    assert cursor is None


async def test_an_invalid_cursor_is_refused(service: PaymentsService) -> None:
    problem = await service.request_refused(ListPayments(cursor="page 2"))
    assert (problem.kind, [error.pointer for error in problem.errors]) == (ErrorKind.INVALID, ["/cursor"])


async def test_requests_are_handled_concurrently(real_service: OnServers) -> None:
    command = new_command()
    await real_service.send(command)
    await real_service.recorded(command.id)
    views = await asyncio.gather(*(real_service.get(command.id) for _ in range(200)))
    assert {view.id for view in views if view} == {command.id}
