"""Keyset pagination: an opaque cursor holds the position of the last item, so every page costs the same."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

from kit.errors import InvalidField

Item = TypeVar("Item")
Position = tuple[datetime, UUID]
"""Time, to the microsecond, and id of the last item on a page."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def encode(position: Position) -> str:
    """Encode a position as a cursor."""
    micros = (position[0] - _EPOCH) // timedelta(microseconds=1)
    return urlsafe_b64encode(micros.to_bytes(8, "big", signed=True) + position[1].bytes).decode()


def decode(cursor: str | None) -> Position | None:
    """Decode a cursor; None stays None. Raises `InvalidField` if `encode` did not produce it."""
    if cursor is None:
        return None
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii"))
        # UUID() raises ValueError unless it gets exactly sixteen bytes.
        position = _EPOCH + timedelta(microseconds=int.from_bytes(raw[:8], "big", signed=True)), UUID(bytes=raw[8:])
        if encode(position) == cursor:  # base64 ignores unknown characters, so other spellings would decode too
            return position
    except (ValueError, OverflowError):
        pass
    raise InvalidField("cursor", "invalid_cursor", "Input should be the nextCursor of a page")


def page(
    items: Sequence[Item], limit: int, position: Callable[[Item], Position]
) -> tuple[tuple[Item, ...], str | None]:
    """Return the page and the cursor of the next one, None on the last page.

    `items` holds one item more than `limit` if there is a next page.
    """
    shown = tuple(items[:limit])
    return shown, encode(position(shown[-1])) if len(items) > limit else None
