"""ETags and conditional requests (RFC 9110, 8.8.3 and 13.1)."""

import re
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Header

from apps.gateway.errors import VersionMismatch
from contracts.users import UserView

IfMatch = Annotated[str | None, Header(description="Change the user only if this is its ETag (RFC 9110).")]
IfNoneMatch = Annotated[str | None, Header(description="Return the user only if its ETag is another one (RFC 9110).")]

_TAG = re.compile(r'"([1-9][0-9]{0,8})"')
"""The format of `etag`, with a version that fits a PostgreSQL integer."""


def etag(user: UserView) -> str:
    """Return the strong validator of a user."""
    return f'"{user.version}"'


def is_known(user: UserView, if_none_match: str | None) -> bool:
    """Return whether an If-None-Match field names the user's ETag (weak comparison)."""
    return names(if_none_match, etag(user))


def names(if_none_match: str | None, tag: str) -> bool:
    """Return whether an If-None-Match field names an ETag (weak comparison)."""
    if if_none_match is None:
        return False
    tags = [each.removeprefix("W/") for each in _tags(if_none_match)]
    return "*" in tags or tag in tags


async def expected_version(if_match: str | None, find: Callable[[], Awaitable[UserView | None]]) -> dict[str, int]:
    """Return the version that an If-Match field requires as a field of the change; empty if it requires none.

    Of several tags the one of the user that `find` returns. Raises `VersionMismatch` if no tag can match.
    """
    tags = _tags("*" if if_match is None else if_match)
    if tags == ["*"]:
        return {}
    versions = [int(match[1]) for tag in tags if (match := _TAG.fullmatch(tag))]
    if len(versions) > 1:
        user = await find()
        versions = [version for version in versions if user and version == user.version]
    if not versions:
        raise VersionMismatch
    return {"expected_version": versions[0]}


def _tags(field: str) -> list[str]:
    return [tag.strip() for tag in field.split(",")]
