"""`mkstore up`: runs the whole store on this machine."""

from pathlib import Path
from typing import Annotated

import typer


def up(
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="PORT", help="Port of the gateway; 0 means any free port.")
    ] = 3000,
    home: Annotated[
        Path | None, typer.Option(help="State folder: data, logs and secrets.", show_default=".mkstore")
    ] = None,
    *,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep data in a temporary folder and remove it at the end.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes per service.", show_default="by the number of cores")
    ] = None,
) -> None:
    """Run NATS, PostgreSQL and the services until Ctrl-C; restart what ends.

    If NATS_URL or DB_HOST is set, that server is used instead of an embedded one.
    """
    from mkstore.outdated import outdated  # noqa: PLC0415
    from mkstore.services import SERVICES  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from mkstore.stack.console import run  # noqa: PLC0415
    from mkstore.stack.plan import Options  # noqa: PLC0415

    raise typer.Exit(run(Options(port, home, ephemeral, workers), SERVICES, outdated=outdated))
