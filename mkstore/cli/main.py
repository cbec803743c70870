"""The command `mkstore`; each subcommand has its own module.

A module imports slow packages (the services, their drivers) inside its command, so that other commands start fast.
"""

from importlib import metadata
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mkstore.cli import docs, env
from mkstore.cli.backup import backup, restore
from mkstore.cli.bench import bench
from mkstore.cli.dead_letters.commands import app as dead_letters
from mkstore.cli.doctor import doctor
from mkstore.cli.keys import app as keys
from mkstore.cli.new import app as new
from mkstore.cli.prove import prove
from mkstore.cli.provision import accounts, provision
from mkstore.cli.secrets import certs, nkeys, secrets
from mkstore.cli.sessions import app as sessions
from mkstore.cli.soak import soak
from mkstore.cli.status import logs, status
from mkstore.cli.up import promote, up
from mkstore.cli.users import app as users


class _Commands(TyperGroup):
    """The commands; an unknown name with the same letters as one, such as `pu`, is a typing error too.

    Typer itself suggests names that have most letters in the same order.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the first argument names. Raises Typer's error with a suggestion."""
        same_letters = [name for name in self.commands if sorted(name) == sorted(args[0])]
        if args[0] not in self.commands and same_letters:
            ctx.fail(f"No such command {args[0]!r}. Did you mean {same_letters[0]!r}?")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="mkstore",
    cls=_Commands,
    help="Run and operate the store.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mkstore {metadata.version('mkstore')}")
        raise typer.Exit


@app.callback()
def mkstore(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run and operate the store."""


app.command("up")(up)
app.command("docs")(docs.command())
app.command("env")(env.command())
app.command("status")(status)
app.command("logs")(logs)
app.command("doctor")(doctor)
app.command("promote")(promote)
app.command("prove")(prove)
app.command("provision")(provision)
app.command("accounts")(accounts)
app.command("secrets")(secrets)
app.command("backup")(backup)
app.command("restore")(restore)
app.command("bench")(bench)
app.command("soak")(soak)
app.command("certs")(certs)
app.command("nkeys")(nkeys)
app.add_typer(new, name="new")
app.add_typer(users, name="users")
app.add_typer(keys, name="keys")
app.add_typer(sessions, name="sessions")
app.add_typer(dead_letters, name="dead-letters")
