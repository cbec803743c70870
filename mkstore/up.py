"""`mkstore up`: the whole store on this machine."""

import asyncio
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from mkstore import home as homes
from mkstore.home import Home, HomeInUseError
from mkstore.launch import CannotStartError, Launch, check_port
from mkstore.parts import Part, PartFailedError
from mkstore.plan import Options, Plan
from mkstore.services import SERVICES, ServiceSpec


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


def run(options: Options, specs: Sequence[ServiceSpec]) -> int:
    """Run `specs`, the last of which is the gateway, until a signal; return the exit code, having said why."""
    try:
        check_port(options.port)
        with homes.opened(options.home, ephemeral=options.ephemeral) as home:
            launch = Launch(options, specs, home, os.environ, say=say, ready=announce)
            asyncio.run(launch.run())
    except PartFailedError as error:
        say(f"mkstore could not start: {error}." + (f" The end of its log:\n{error.log}" if error.log else ""))
        return 1
    except (CannotStartError, HomeInUseError) as error:
        say(f"mkstore could not start: {error}.")
        return 1
    except OSError as error:
        say(f"mkstore could not start: {error.strerror or error}: {error.filename or options.home}.")
        return 1
    say("mkstore has stopped")
    return 0


def announce(plan: Plan, home: Home) -> None:
    """Say the line that tools wait for, and where everything is."""
    say(f"mkstore is ready: {plan.gateway.url}")
    gateway = plan.gateway.url
    table = Table("what", "address", "process")
    table.add_row("gateway", gateway, _process(plan.gateway))
    table.add_row("HTTP API", f"{gateway}/docs", "")
    table.add_row("event documentation", f"{gateway}/asyncapi", "")
    for service in plan.services[:-1]:
        table.add_row(service.name, f"{service.url}/health", _process(service))
    table.add_row("NATS", _without_login(plan.nats_url), _process(plan.nats))
    table.add_row("PostgreSQL", _without_login(plan.postgres_url), _process(plan.postgres))
    table.add_row("logins", str(home.run_file), "")
    table.add_row("logs", str(home.root / "logs"), "")
    drawing = Console(file=io.StringIO(), width=160)
    with drawing.capture() as capture:
        drawing.print(table)
    say(capture.get().rstrip())


def say(text: str) -> None:
    """Print a line; a reader that went away stops the printing and nothing else."""
    try:
        typer.echo(text)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _process(part: Part | None) -> str:
    return "not ours" if part is None else str(part.pid)


def _without_login(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
