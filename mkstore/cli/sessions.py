"""`mkstore sessions`: lists and ends the sessions of a user."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from mkstore.cli.dead_letters.text import printable
from mkstore.cli.support import HomeOption, JsonOption, fail, on_services, show

if TYPE_CHECKING:
    from contracts.sessions import SessionView
    from kit.messaging.client import RequestClient

app = typer.Typer(help="List and end the sessions of a user.", no_args_is_help=True)

_COLUMNS = ("id", "device", "address", "createdAt", "lastUsedAt")
_TIMEOUT = 5.0


@app.callback()
def sessions() -> None:
    """List and end the sessions of a user."""


@app.command("list")
def list_sessions(
    user: Annotated[str, typer.Argument(metavar="EMAIL|ID", help="The user.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """List the sessions of a user that have not ended, the most recently used first."""
    from contracts.sessions import ListSessions  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    async def work(client: "RequestClient") -> "tuple[SessionView, ...]":
        return (await client.request(ListSessions(user_id=await _user_id(client, user)))).data

    rows = [each.model_dump(mode="json", by_alias=True) for each in on_services(home, work, timeout=_TIMEOUT)]
    for row in rows:
        row["device"], row["address"] = printable(row["device"]), printable(row["address"])
    show(f"{len(rows)} sessions", _COLUMNS, rows, as_json=json)


@app.command()
def revoke(
    session: Annotated[
        UUID | None,
        typer.Argument(metavar="[SESSION]", help="Id of the session, see `list`; without it all of the user."),
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="EMAIL|ID", help="The user; optional if a session is named.")
    ] = None,
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """End one session, or all sessions of a user; return once the revocation is published."""
    if session is None and user is None:
        fail("Name a session, or the user whose sessions end: --user.")
    from contracts.sessions import RevokeSessions  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    async def work(client: "RequestClient") -> UUID | None:
        user_id = None if user is None else await _user_id(client, user)
        await client.request(RevokeSessions(user_id=user_id, session_id=session))
        return user_id

    user_id = on_services(home, work, timeout=_TIMEOUT)
    row = {"user": str(user_id or ""), "session": str(session or "all")}
    show("revoked", list(row), [row], as_json=json)


async def _user_id(client: "RequestClient", user: str) -> UUID:
    """Return the id of a user; exit 1 with a message if there is none with this email."""
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    from contracts.users import ListUsers  # noqa: PLC0415

    try:
        return UUID(user)
    except ValueError:
        pass
    try:
        wanted = ListUsers(email=user)
    except ValidationError:
        fail(f"{user} is neither the id nor the email of a user.")
    if not (matches := (await client.request(wanted)).data):
        fail(f"There is no user with the email {user}.")
    return matches[0].id
