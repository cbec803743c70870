"""`mkstore up` runs the whole store on this machine, and `mkstore promote` changes the primary of its PostgreSQL."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mkstore.cli.support import HomeOption, fail, run_record
from mkstore.stack.state_dir import DEFAULT_STATE_DIR

_SERVERS = {"nats": "NATS_URL", "postgres": "DB_HOST"}
"""The servers, and the variable that names another one."""


def up(
    port: Annotated[
        int, typer.Option(min=0, max=65535, envvar="PORT", help="Port of the gateway; 0 means any free port.")
    ] = 3000,
    home: Annotated[
        Path | None, typer.Option(help="State folder: data, logs and secrets.", show_default=".mkstore")
    ] = None,
    shards: Annotated[
        int, typer.Option(min=1, max=16, envvar="SHARDS", help="Shards of the payments, each with a separate database.")
    ] = 1,
    *,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="Keep data in a temporary folder and remove it at the end.")
    ] = False,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Three NATS servers with three replicas; two processes of each service.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes per service.", show_default="by the number of cores")
    ] = None,
    only: Annotated[
        str | None, typer.Option(metavar="PARTS", help="Start only these, such as nats,postgres or users,payments.")
    ] = None,
    without: Annotated[
        str | None, typer.Option(metavar="SERVICES", help="Start all services but these, such as users.")
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Restart the services when a file of apps, contracts or kit changes.")
    ] = False,
    tls: Annotated[
        bool, typer.Option("--tls", help="Encrypt the connections to NATS, with certificates in HOME/certs.")
    ] = False,
) -> None:
    """Run NATS, PostgreSQL and the services until Ctrl-C; restart what ends.

    If NATS_URL or DB_HOST is set, that server is used instead of an embedded one. A service that is left out can run
    elsewhere, with the environment that `mkstore env --service` prints; NATS and PostgreSQL always run.
    """
    from mkstore.generated import ROOT  # noqa: PLC0415
    from mkstore.outdated import outdated  # noqa: PLC0415
    from mkstore.services import SERVICES  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from mkstore.stack.console import run  # noqa: PLC0415
    from mkstore.stack.plan import Options  # noqa: PLC0415

    services = chosen([spec.name for spec in SERVICES], only, without)
    folders = tuple(ROOT / name for name in ("apps", "contracts", "kit")) if reload else ()
    options = Options(port, home, ephemeral, workers, services, folders, cluster, tls, shards)
    raise typer.Exit(run(options, SERVICES, outdated=outdated))


def promote(
    home: HomeOption = None,
    *,
    lose_commits: Annotated[
        bool,
        typer.Option("--lose-commits", help="Promote a standby that lacks what the primary has committed alone."),
    ] = False,
) -> None:
    """Make the standby of a cluster the primary: after the loss of the primary, or before work on it.

    The former primary is killed first, so that two never accept writes, and then follows as the standby; what only it
    had is undone. Refused if the standby lacks commits, which would be lost.
    """
    from mkstore.stack import promotion  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    postgres = run_record(home or DEFAULT_STATE_DIR)["postgres"]
    try:
        asyncio.run(promotion.promote(postgres, typer.echo, lose_commits=lose_commits))
    except promotion.PromotionRefused as error:
        fail(str(error))


def chosen(services: Sequence[str], only: str | None, without: str | None) -> frozenset[str]:
    """Return the services to start; exit 1 with a message for a name that is unknown."""
    left_out = _names(without, services)
    kept = _names(only, [*services, *_SERVERS]) if only is not None else set(services)
    return frozenset(kept - left_out - set(_SERVERS))


def _names(given: str | None, known: Sequence[str]) -> set[str]:
    names = {name.strip() for name in (given or "").split(",")} - {""}
    for name in sorted(names - set(known)):
        if name in _SERVERS:
            fail(f"{name} cannot be left out: set {_SERVERS[name]} to use another server.")
        fail(f"There is no part {name!r}; there are {', '.join(known)}.")
    return names
