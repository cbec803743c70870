"""Payments are found from the moment that they are accepted, and listed page by page."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID, uuid4

import pytest

from apps.payments import requests
from contracts.base import Request
from contracts.errors import ErrorKind
from contracts.payments import (
    GetPayments,
    ListPayments,
    PaymentList,
    PaymentRejected,
    PaymentStatus,
    PaymentView,
    RejectPayment,
)
from contracts.streams import PAYMENT_COMMANDS
from kit.errors import RemoteProblem
from tests.payments.conftest import AnyService
from tests.support.payments_fakes import FakePayments, Table
from tests.support.payments_harness import LIMIT, ForReal, order
from tests.support.polling import eventually


async def test_a_payment_that_waits_is_shown_as_pending(service: AnyService) -> None:
    command = order(metadata={"order": "A-1"})
    async with service.held():
        await service.send(command)
        assert await service.get(command.id) == command.pending()
        assert (await service.ask(GetPayments(ids=(command.id,)))).payments == (command.pending(),)
    assert (await service.recorded(command.id)).status is PaymentStatus.CREATED


async def test_a_payment_that_was_given_up_is_recorded_as_rejected_and_told_of(service: AnyService) -> None:
    command = order()
    rejected = command.pending().model_copy(update={"status": PaymentStatus.REJECTED, "reason": "given-up"})
    for _ in range(2):
        assert await service.ask(RejectPayment(command=command)) == rejected
    assert await service.get(command.id) == rejected
    [sent] = await eventually(lambda: service.told(command.id))
    assert sent.event == PaymentRejected(payment=rejected)
    await service.send(command)  # a repeated command changes nothing
    await service.send(last := order())
    await service.recorded(last.id)
    assert await service.recorded(command.id) == rejected


async def test_a_payment_that_is_made_cannot_be_given_up_any_more(service: AnyService) -> None:
    command = order()
    await service.send(command)
    made = await service.recorded(command.id)
    assert await service.ask(RejectPayment(command=command)) == made
    assert await service.get(command.id) == made


async def test_an_unknown_payment_is_refused_alone_and_left_out_among_others(service: AnyService) -> None:
    unknown, recorded, waiting = uuid4(), order(), order()
    await service.send(recorded)
    view = await service.recorded(recorded.id)
    assert await service.get(unknown) is None
    async with service.held():
        await service.send(waiting)
        ids = (unknown, recorded.id, waiting.id, recorded.id, waiting.id)
        found = (await service.ask(GetPayments(ids=ids))).payments
    assert sorted(found, key=lambda each: each.status) == [view, waiting.pending()]
    assert (await service.ask(GetPayments(ids=()))).payments == ()


async def test_a_payment_is_never_unknown_between_waiting_and_recorded(service: AnyService) -> None:
    orders = [order() for _ in range(100)]
    for start in range(0, 100, 10):
        batch = orders[start : start + 10]
        await service.send(*batch)
        for _ in range(20):
            found = (await service.ask(GetPayments(ids=tuple(command.id for command in batch)))).payments
            assert {view.id for view in found} == {command.id for command in batch}
    for command in orders:
        await service.recorded(command.id)


async def test_a_payment_that_is_recorded_while_one_looks_for_it_is_found() -> None:
    table, command = Table(), order()

    async def recorded_just_now(_: UUID) -> None:
        view = command.pending().model_copy(update={"status": PaymentStatus.CREATED})
        table.rows[command.id] = view  # acked, and so no longer in the stream

    found = await requests.get_payments(
        GetPayments(ids=(command.id,)),
        FakePayments(table),
        recorded_just_now,
    )
    assert [view.id for view in found.payments] == [command.id]


async def test_unknown_payment_is_unavailable_while_the_stream_is_missing(real_service: ForReal) -> None:
    command = order()
    await real_service.send(command)
    view = await real_service.recorded(command.id)
    await real_service.broker.jetstream.delete_stream(PAYMENT_COMMANDS.name)
    problem = await real_service.refuse(GetPayments(ids=(uuid4(),)))
    assert (problem.kind, problem.slug) == (ErrorKind.UNAVAILABLE, "service-unavailable")
    problem = await real_service.refuse(GetPayments(ids=(command.id, uuid4())))
    assert problem.kind == ErrorKind.UNAVAILABLE
    assert await real_service.get(command.id) == view

    async def unknown_again() -> bool:
        try:
            return await real_service.get(uuid4()) is None
        except RemoteProblem:
            return False

    await eventually(unknown_again)  # the service has recreated the stream
    last = order()
    await real_service.send(last)
    await real_service.recorded(last.id)


class OddGetPayments(Request[PaymentList]):
    subject: ClassVar[str] = GetPayments.subject
    ids: str | None = None


@pytest.mark.parametrize("odd", [OddGetPayments(), OddGetPayments(ids=None), OddGetPayments(ids="what?")], ids=repr)
async def test_a_request_that_does_not_fit_is_refused(real_service: ForReal, odd: OddGetPayments) -> None:
    problem = await real_service.refuse(odd)
    assert (problem.kind, problem.slug) == (ErrorKind.INVALID, "invalid-request")
    assert [error.pointer for error in problem.errors] == ["/ids"]


async def pages(service: AnyService, request: ListPayments) -> list[PaymentView]:
    found: list[PaymentView] = []
    cursor = None
    while True:
        page = await service.ask(request.model_copy(update={"cursor": cursor}))
        assert len(page.payments) <= request.limit
        found += page.payments
        if page.next_cursor is None:
            return found
        assert len(page.payments) == request.limit
        cursor = page.next_cursor


async def test_payments_are_listed_newest_first_by_user_and_status(service: AnyService) -> None:
    ada, grace, start = uuid4(), uuid4(), datetime.now(UTC)
    orders = [
        order(
            user_id=grace if number % 5 == 0 else ada,
            amount=LIMIT + 1 if number % 3 == 0 else 1,
            created_at=start - timedelta(seconds=number // 4),  # many at one moment: the id decides
        )
        for number in range(40)
    ]
    await service.send(*orders)
    views = [await service.recorded(command.id) for command in orders]
    for user in (ada, grace):
        for status in (None, PaymentStatus.CREATED, PaymentStatus.REJECTED, PaymentStatus.PENDING):
            expected = sorted(
                (view for view in views if view.user_id == user and status in {None, view.status}),
                key=lambda view: (view.created_at, view.id),
                reverse=True,
            )
            for limit in (1, 7, 100):
                assert await pages(service, ListPayments(user_id=user, status=status, limit=limit)) == expected
    mixed = (await service.ask(ListPayments(limit=100))).payments
    assert {ada, grace} <= {view.user_id for view in mixed}
    assert list(mixed) == sorted(mixed, key=lambda view: (view.created_at, view.id), reverse=True)


async def test_pages_stay_where_they_are_while_payments_are_added(service: AnyService) -> None:
    user, start = uuid4(), datetime.now(UTC)
    orders = [order(user_id=user, created_at=start - timedelta(seconds=number)) for number in range(9)]
    await service.send(*orders)
    for command in orders:
        await service.recorded(command.id)
    seen: list[UUID] = []
    cursor = None
    for number in range(3):
        page = await service.ask(ListPayments(user_id=user, limit=3, cursor=cursor))
        seen += [view.id for view in page.payments]
        cursor = page.next_cursor
        newer = order(user_id=user, created_at=start + timedelta(seconds=number + 1))
        await service.send(newer)
        await service.recorded(newer.id)
    assert seen == [command.id for command in orders]
    assert cursor is None


async def test_a_cursor_of_somebody_elses_making_is_refused(service: AnyService) -> None:
    problem = await service.refuse(ListPayments(cursor="page 2"))
    assert (problem.kind, [error.pointer for error in problem.errors]) == (ErrorKind.INVALID, ["/cursor"])


async def test_requests_are_answered_side_by_side(real_service: ForReal) -> None:
    command = order()
    await real_service.send(command)
    await real_service.recorded(command.id)
    views = await asyncio.gather(*(real_service.get(command.id) for _ in range(200)))
    assert {view.id for view in views if view} == {command.id}
