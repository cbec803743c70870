"""`mkstore up` whose ready services keep their priority: several stores start beside each other in the tests."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mkstore.services import SERVICES
from mkstore.stack.console import run
from mkstore.stack.plan import Options

PROGRAM = (sys.executable, str(Path(__file__)))


def up(
    port: int = 0,
    home: Path | None = None,
    *,
    ephemeral: Annotated[bool, typer.Option("--ephemeral")] = False,
    workers: int | None = None,
    tls: Annotated[bool, typer.Option("--tls")] = False,
    shards: int = 1,
) -> None:
    """Take the options of `mkstore up`."""
    raise typer.Exit(run(Options(port, home, ephemeral, workers, tls=tls, shards=shards), SERVICES, niceness=0))


if __name__ == "__main__":
    typer.run(up)
