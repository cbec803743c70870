"""`mkstore users`: what an operator does to users."""

from typing import Annotated

import typer

from mkstore.cli.support import HomeOption, JsonOption, fail, on_nats, show

app = typer.Typer(help="Users.", no_args_is_help=True)


@app.callback()
def users() -> None:
    """Work on users."""


@app.command()
def promote(
    email: Annotated[str, typer.Argument(help="Whose role becomes admin.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Make a user an admin, by the users service itself: with a new version and its event."""
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    from contracts.users import ListUsers, Role, UpdateUser, UserView  # noqa: PLC0415
    from kit.messaging.broker import Broker  # noqa: PLC0415
    from kit.messaging.client import RequestClient  # noqa: PLC0415

    async def work(broker: Broker) -> UserView:
        client = RequestClient(broker)
        found = (await client.request(ListUsers(email=email))).users
        if not found:
            fail(f"There is no user with the email {email}.")
        user = found[0]
        return await client.request(UpdateUser(id=user.id, expected_version=user.version, role=Role.ADMIN))

    try:
        user = on_nats(home, work)
    except ValidationError:
        fail(f"{email} is no email address.")
    row = {"id": str(user.id), "email": user.email, "role": user.role.value, "version": user.version}
    show("promoted; the next token says so", list(row), [row], as_json=json)
