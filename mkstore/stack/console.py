"""Run the local stack in the foreground and print its progress."""

import asyncio
import io
import os
import sys
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table

from mkstore.stack import state_dir as homes
from mkstore.stack.local_stack import CannotStartError, LocalStack, check_port
from mkstore.stack.managed_process import ManagedProcess, PartFailedError
from mkstore.stack.plan import Options, Plan
from mkstore.stack.service_process import ServiceSpec
from mkstore.stack.state_dir import HomeInUseError, StateDir


def run(options: Options, specs: Sequence[ServiceSpec]) -> int:
    """Run `specs`, the last of which is the gateway, until a signal; return the exit code, having said why."""
    try:
        check_port(options.port)
        with homes.opened(options.home, ephemeral=options.ephemeral) as home:
            launch = LocalStack(options, specs, home, os.environ, say=say, ready=announce)
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


def announce(plan: Plan, home: StateDir) -> None:
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


def _process(part: ManagedProcess | None) -> str:
    return "not ours" if part is None else str(part.pid)


def _without_login(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
