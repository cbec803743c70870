"""ETags, and requests that depend on them (RFC 9110, 8.8.3 and 13.1)."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header

from apps.gateway.errors import VersionMismatch
from contracts.users import UserView

IfMatch = Annotated[str | None, Header(description="Change it only while this is its ETag (RFC 9110).")]
IfNoneMatch = Annotated[str | None, Header(description="Send it only when this is no longer its ETag (RFC 9110).")]

_TAG = re.compile(r'"([1-9][0-9]{0,8})"')
"""What `etag` writes, with a version that PostgreSQL can compare."""


def etag(user: UserView) -> str:
    """Return the strong validator of what a user looks like."""
    return f'"{user.version}"'


def is_known(user: UserView, if_none_match: str | None) -> bool:
    """Tell whether an If-None-Match field names what the user looks like; it compares weakly."""
    tags = [tag.removeprefix("W/") for tag in _tags(if_none_match or "")]
    return "*" in tags or etag(user) in tags


async def expected_version(if_match: str | None, find: Callable[[], Awaitable[UserView | None]]) -> dict[str, int]:
    """Return what an If-Match field adds to a change: the version that it demands, if it demands one.

    Of several the one that `find` finds. Raises 412 where there is none: what was never a tag of ours matches nothing.
    """
    tags = _tags("*" if if_match is None else if_match)
    if tags == ["*"]:
        return {}
    versions = [int(found[1]) for tag in tags if (found := _TAG.fullmatch(tag))]
    if len(versions) > 1:
        user = await find()
        versions = [version for version in versions if user and version == user.version]
    if not versions:
        raise VersionMismatch
    return {"expected_version": versions[0]}


def _tags(field: str) -> list[str]:
    return [tag.strip() for tag in field.split(",")]
