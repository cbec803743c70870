"""The command `mkstore`: one line for each of its sub-commands, each of which has a module of its own.

A module imports what is slow (the services, their drivers) inside its command, so that the others start at once.
"""

import typer

from mkstore.cli.dead_letters import app as dead_letters
from mkstore.cli.docs import docs
from mkstore.cli.doctor import doctor
from mkstore.cli.env import env
from mkstore.cli.prove import prove
from mkstore.cli.up import up
from mkstore.cli.users import app as users

app = typer.Typer(
    name="mkstore", help="Run and operate the store.", no_args_is_help=True, pretty_exceptions_show_locals=False
)


@app.callback()
def mkstore() -> None:
    """Run and operate the store."""


app.command("up")(up)
app.command("docs")(docs)
app.command("env")(env)
app.command("doctor")(doctor)
app.command("prove")(prove)
app.add_typer(users, name="users")
app.add_typer(dead_letters, name="dead-letters")
