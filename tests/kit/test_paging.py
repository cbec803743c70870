"""Cursors and pages of keyset pagination."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kit import paging
from kit.errors import InvalidField

POSITIONS = st.tuples(
    st.datetimes(timezones=st.just(UTC)),
    st.uuids(),
)


@given(POSITIONS)
@example((datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), UUID(int=0)))
@example((datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)))
def test_position_round_trips_through_a_cursor(position: paging.Position) -> None:
    cursor = paging.encode(position)
    assert paging.decode(cursor) == position
    assert cursor.isascii()
    assert len(cursor) <= 200


def test_missing_cursor_has_no_position() -> None:
    assert paging.decode(None) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "AAAA",
        "A" * 31,
        "A" * 36,
        "A" * 32 + "=",
        " " + "A" * 32,
        "A" * 16 + "\n" + "A" * 16,
        "A" * 31 + "é",
        "fw" + "_" * 30,  # a time outside the calendar
    ],
)
def test_invalid_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidField) as refused:
        paging.decode(text)
    assert [error.pointer for error in refused.value.errors] == ["/cursor"]


@pytest.mark.parametrize(("there", "shown", "more"), [(0, 0, False), (2, 2, False), (3, 2, True)])
def test_page_ends_where_the_next_begins(there: int, shown: int, more: bool) -> None:
    start = datetime.now(UTC)
    items = [(start - timedelta(seconds=n), uuid4()) for n in range(there)]
    page, cursor = paging.page(items, 2, lambda item: item)
    assert page == tuple(items[:shown])
    assert paging.decode(cursor) == (page[-1] if more else None)
