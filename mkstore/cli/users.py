"""`mkstore users`: administers users."""

from typing import Annotated

import typer

from mkstore.cli.support import HomeOption, JsonOption, fail, on_services, show

app = typer.Typer(help="Administer users.", no_args_is_help=True)


@app.callback()
def users() -> None:
    """Administer users."""


@app.command()
def promote(
    email: Annotated[str, typer.Argument(help="Email of the user who becomes an admin.")],
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Make a user an admin, through the users service; publishes `user.updated`."""
    from pydantic import ValidationError  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    from contracts.users import ListUsers, Role, UpdateUser, UserView  # noqa: PLC0415
    from kit.messaging.client import RequestClient  # noqa: PLC0415

    async def work(client: RequestClient) -> UserView:
        matches = (await client.request(ListUsers(email=email))).data
        if not matches:
            fail(f"There is no user with the email {email}.")
        user = matches[0]
        return await client.request(UpdateUser(id=user.id, expected_version=user.version, role=Role.ADMIN))

    try:
        user = on_services(home, work)
    except ValidationError:
        fail(f"{email} is not an email address.")
    row = {"id": str(user.id), "email": user.email, "role": user.role.value, "version": user.version}
    show("promoted; effective with the next access token", list(row), [row], as_json=json)
