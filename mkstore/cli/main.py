"""The command `mkstore`; each subcommand has its own module.

A module imports slow packages (the services, their drivers) inside its command, so that other commands start fast.
"""

from importlib import metadata
from typing import Annotated

import typer

from mkstore.cli import docs, env
from mkstore.cli.bench import bench
from mkstore.cli.dead_letters import app as dead_letters
from mkstore.cli.doctor import doctor
from mkstore.cli.keys import app as keys
from mkstore.cli.new import app as new
from mkstore.cli.prove import prove
from mkstore.cli.provision import provision
from mkstore.cli.secrets import secrets
from mkstore.cli.sessions import app as sessions
from mkstore.cli.status import logs, status
from mkstore.cli.up import up
from mkstore.cli.users import app as users

app = typer.Typer(
    name="mkstore", help="Run and operate the store.", no_args_is_help=True, pretty_exceptions_show_locals=False
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
app.command("prove")(prove)
app.command("provision")(provision)
app.command("secrets")(secrets)
app.command("bench")(bench)
app.add_typer(new, name="new")
app.add_typer(users, name="users")
app.add_typer(keys, name="keys")
app.add_typer(sessions, name="sessions")
app.add_typer(dead_letters, name="dead-letters")
