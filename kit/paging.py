"""Keyset cursors: where a page ended, as an opaque string, so that the next begins there at the same cost."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from kit.errors import InvalidField

Item = TypeVar("Item")
Position = tuple[datetime, UUID]
"""The time and the id of the last item that was seen; microseconds count."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(position: Position) -> str:
    """Write a position as a cursor."""
    micros = (position[0] - _EPOCH) // timedelta(microseconds=1)
    return urlsafe_b64encode(micros.to_bytes(8, "big", signed=True) + position[1].bytes).decode()


def decode(cursor: str | None) -> Position | None:
    """Read a cursor; None stays None. Raises `InvalidField` for what `encode` did not write."""
    if cursor is None:
        return None
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
        # UUID() refuses what is not exactly sixteen bytes long.
        position = _EPOCH + timedelta(microseconds=int.from_bytes(raw[:8], "big", signed=True)), UUID(bytes=raw[8:])
        if encode(position) == cursor:  # base64 skips what it does not know, and would take other spellings
            return position
    except (ValueError, OverflowError):
        pass
    raise InvalidField("cursor", "invalid_cursor", "Input should be the nextCursor of a page")


def page(
    items: Sequence[Item], limit: int, position: Callable[[Item], Position]
) -> tuple[tuple[Item, ...], str | None]:
    """Cut `items`, read with one more than `limit`, to a page and the cursor of the next (None: this is the last)."""
    shown = tuple(items[:limit])
    return shown, encode(position(shown[-1])) if len(items) > limit else None
