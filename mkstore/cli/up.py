"""`mkstore up`: the whole store on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from mkstore.stack.console import run
from mkstore.stack.plan import Options
from mkstore.stack.service_process import SERVICES


def up(
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="PORT", help="Where the gateway listens; 0 is any free port.")
    ] = 3000,
    home: Annotated[
        Path | None, typer.Option(help="Where data, logs and secrets are kept.", show_default=".mkstore")
    ] = None,
    *,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep the data in a temporary folder that is removed at the end.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes per service.")] = 1,
    nice: Annotated[
        int,
        typer.Option(min=0, max=19, help="The nice value of services that run: one that is started again goes first."),
    ] = Options.nice,
) -> None:
    """Start NATS, PostgreSQL and the services, and keep them running until Ctrl-C.

    With NATS_URL or DB_HOST set, those servers are used instead of own ones.
    """
    raise typer.Exit(run(Options(port, home, ephemeral, workers, nice), SERVICES))
