"""The decision to make the standby of a running cluster the primary of PostgreSQL; `replication` carries it out."""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import asyncpg

from mkstore.stack.servers.copies import Copies

_CONNECT_TIMEOUT = 2.0
_PROMOTION_TIMEOUT = 60.0
_POLL_INTERVAL = 0.1
_WRITABLE = "it is not a standby"


class PromotionRefused(Exception):
    """The standby is not promoted; the message is for the operator."""


class _Roles(NamedTuple):
    primary: str
    standby: str
    standby_url: str
    copies: Copies


async def promote(postgres: Mapping[str, Any], say: Callable[[str], None], *, lose_commits: bool = False) -> None:
    """Make the standby the primary, and return once it accepts writes; `postgres` is that part of the run file.

    Raises `PromotionRefused` if that would lose commits and `lose_commits` is false, if there is no standby that
    answers, or if it is not promoted within a minute.
    """
    roles = _roles(postgres)
    with roles.copies.lock():
        if not roles.copies.complete and not lose_commits:
            since = f" since {roles.copies.alone_since}" if roles.copies.alone_since else ""
            raise PromotionRefused(
                f"{roles.standby} lacks what {roles.primary} has committed alone{since}. Let it catch up: "
                f"`mkstore doctor` tells when. If {roles.primary} is lost, use --lose-commits."
            )
        if reason := await _obstacle(roles.standby_url):
            raise PromotionRefused(f"{roles.standby} cannot become the primary: {reason}.")
        if not roles.copies.complete:
            say(f"What {roles.primary} has committed alone is lost.")
        roles.copies.make_primary(roles.standby)
    began = time.monotonic()
    while await _obstacle(roles.standby_url) != _WRITABLE:
        if time.monotonic() - began > _PROMOTION_TIMEOUT:
            raise PromotionRefused(
                f"{roles.standby} is not the primary after {_PROMOTION_TIMEOUT:g} s: see `mkstore logs`."
            )
        await asyncio.sleep(_POLL_INTERVAL)
    say(f"{roles.standby} is the primary after {time.monotonic() - began:.1f} s.")


async def _obstacle(url: str) -> str:
    """Return why the server at `url` cannot be promoted; empty if it can."""
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_TIMEOUT, command_timeout=_CONNECT_TIMEOUT)
        try:
            return "" if await connection.fetchval("SELECT pg_is_in_recovery()") else _WRITABLE
        finally:
            connection.terminate()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"it does not answer ({str(error) or type(error).__name__})"


def _roles(postgres: Mapping[str, Any]) -> _Roles:
    nodes = postgres.get("nodes")
    if not nodes:
        raise PromotionRefused("This store has no standby: it was started without --cluster.")
    copies = Copies(Path(postgres["copies"]), nodes[0]["name"])
    (standby,) = [node for node in nodes if node["name"] != copies.primary]
    login = urlsplit(str(postgres["url"]))
    where = str(standby["url"]).rpartition("/")[2]
    address = login._replace(netloc=f"{login.netloc.rpartition('@')[0]}@{where}").geturl()
    return _Roles(copies.primary, standby["name"], address, copies)
