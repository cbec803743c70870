"""`mkstore keys`: lists, rotates and withdraws the keys that sign access tokens."""

from typing import TYPE_CHECKING, Annotated

import typer

from mkstore.cli.support import HomeOption, JsonOption, on_services, show

if TYPE_CHECKING:
    from contracts.keys import SigningKeyView

app = typer.Typer(help="List, rotate and withdraw the keys that sign access tokens.", no_args_is_help=True)

_COLUMNS = ("kid", "state", "createdAt", "signsFrom", "leavesAt")
_TIMEOUT = 10.0
"""Seconds to wait for the users service: it creates the key and waits until NATS has stored it."""


@app.callback()
def keys() -> None:
    """List, rotate and withdraw the keys that sign access tokens."""


@app.command("list")
def list_keys(home: HomeOption = None, json: JsonOption = False) -> None:
    """List the keys that are published or will be, the newest first."""
    from contracts.keys import ListKeys  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    listed = on_services(home, lambda client: client.request(ListKeys()), timeout=_TIMEOUT)
    rows = [_row(key) for key in listed.data]
    show(f"{len(rows)} signing keys", _COLUMNS, rows, as_json=json)


@app.command()
def rotate(home: HomeOption = None, json: JsonOption = False) -> None:
    """Create the next key and return once it is published; the users service does the rest.

    It signs with the key once the cache time is over. The key before stays published until its last token has expired.
    """
    from contracts.keys import RotateKey  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    created = on_services(home, lambda client: client.request(RotateKey()), timeout=_TIMEOUT)
    show("published; it signs later, see signsFrom", _COLUMNS, [_row(created)], as_json=json)


@app.command()
def withdraw(
    kid: Annotated[str, typer.Argument(metavar="KID", help="Id of the key, see `list`.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Withdraw a key that leaked: every token that it signed is refused from now on.

    If it was the active key, another one signs at once. Clients renew their access tokens with their refresh tokens.
    """
    from contracts.keys import WithdrawKey  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    left = on_services(home, lambda client: client.request(WithdrawKey(kid=kid)), timeout=_TIMEOUT)
    show("withdrawn; these are left", _COLUMNS, [_row(key) for key in left.data], as_json=json)


def _row(key: "SigningKeyView") -> dict[str, object]:
    row = key.model_dump(mode="json", by_alias=True)
    return {name: "" if value is None else value for name, value in row.items()}
