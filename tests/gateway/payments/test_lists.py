"""Merging the pages of shards into one."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.payments.lists import merged
from contracts.payments import PaymentPage, PaymentStatus, PaymentView
from kit import paging

START = datetime(2026, 1, 31, tzinfo=UTC)
SHARDS = 3


def view(number: int, second: int) -> PaymentView:
    """Return a payment; several may be of one second."""
    return PaymentView(
        id=UUID(int=number),
        user_id=UUID(int=1),
        amount=1,
        currency="USD",
        metadata={},
        status=PaymentStatus.CREATED,
        created_at=START + timedelta(seconds=second),
    )


def position(payment: PaymentView) -> paging.Position:
    return payment.created_at, payment.id


def page(payments: list[PaymentView], limit: int, cursor: str | None) -> PaymentPage:
    """Return the page of one shard."""
    before = paging.decode(cursor)
    newest = sorted(payments, key=position, reverse=True)
    rows = [payment for payment in newest if before is None or position(payment) < before]
    shown, following = paging.page(rows[: limit + 1], limit, position)
    return PaymentPage(data=shown, next_cursor=following)


PLACED = st.lists(
    st.tuples(st.integers(0, 5), st.sets(st.integers(0, SHARDS - 1), min_size=1, max_size=2)), max_size=25
)
"""For each payment its time and the shards that have it: one, or two if one has a copy."""


@given(PLACED, st.integers(1, 8))
def test_pages_of_all_shards_have_every_payment_once_in_order(placed: list[tuple[int, set[int]]], limit: int) -> None:
    payments = [view(number, second) for number, (second, _) in enumerate(placed)]
    shards = [[p for p, (_, own) in zip(payments, placed, strict=True) if number in own] for number in range(SHARDS)]
    read, cursor = list[PaymentView](), None
    while True:
        current = merged([page(shard, limit, cursor) for shard in shards], limit)
        read += current.data
        assert len(current.data) == limit or not current.has_more
        cursor = current.next_cursor
        if cursor is None:
            break
    assert read == sorted(payments, key=position, reverse=True)
