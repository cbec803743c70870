"""Run the local stack in the foreground and print its progress."""

import asyncio
import errno
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from kit.runtime.secrets import UnreadableSecret, with_secret_files
from kit.runtime.tls_settings import tls_problems
from mkstore.services import SECRET_VARIABLES, ServiceSpec
from mkstore.stack.local_stack import NICENESS, LocalStack, Outdated
from mkstore.stack.managed_process import ManagedProcess, ProcessFailed
from mkstore.stack.plan import Options, Plan
from mkstore.stack.ports import without_login
from mkstore.stack.preconditions import StartRefused, check_layout, check_port, check_space, disk_is_full
from mkstore.stack.state_dir import DamagedSecrets, StateDir, StateDirInUse, open_state_dir

_CERTIFICATE_DAYS = 3650
"""They are made anew at each start."""
_FREE_SPACE = "Free space, or use a --home on another disk."


def run(
    options: Options, specs: Sequence[ServiceSpec], *, niceness: int = NICENESS, outdated: Outdated | None = None
) -> int:
    """Run `specs`, the last of which is the gateway, until a signal; print errors and return the exit code.

    `outdated` compares the documents with the code, see `LocalStack`.
    """
    try:
        if options.starts(specs[-1].name):
            check_port(options.port)
        environ = with_secret_files(SECRET_VARIABLES, os.environ)
        check_files(environ)
        with open_state_dir(options.home, ephemeral=options.ephemeral) as state:
            check_space(state.data)
            check_layout(state.data, cluster=options.cluster)
            if options.tls and not environ.get("NATS_URL"):
                make_certificates(state.root / "certs", specs)
            stack = LocalStack(
                options,
                specs,
                state,
                environ,
                say=say,
                on_ready=print_addresses,
                niceness=niceness,
                outdated=outdated,
            )
            asyncio.run(stack.run())
    except ProcessFailed as error:
        if disk_is_full(error.log):
            say(f"mkstore could not start: {error}, since the disk is full. {_FREE_SPACE}")
            return 1
        say(f"mkstore could not start: {error}." + (f" The end of its log:\n{error.log}" if error.log else ""))
        return 1
    except (StartRefused, StateDirInUse, DamagedSecrets) as error:
        say(f"mkstore could not start: {error}.")
        return 1
    except UnreadableSecret as error:
        say(f"mkstore could not start: {error}")
        return 1
    except OSError as error:
        advice = f" {_FREE_SPACE}" if error.errno == errno.ENOSPC else ""
        say(f"mkstore could not start: {error.strerror or error}: {error.filename or options.home}.{advice}")
        return 1
    say("mkstore has stopped")
    return 0


def check_files(environ: Mapping[str, str]) -> None:
    """Raise `StartRefused` if a certificate or a login in a file that the environment names cannot be used."""
    if problems := tls_problems(environ):
        raise StartRefused(" ".join(problems).removesuffix("."))


def make_certificates(folder: Path, specs: Sequence[ServiceSpec]) -> None:
    """Make an authority and certificates for `mkstore up --tls`, or renew the certificates. Raises `StartRefused`."""
    from mkstore import certificates  # noqa: PLC0415 - only with --tls

    subjects = certificates.subjects([spec.name for spec in specs])
    try:
        if (folder / f"{certificates.AUTHORITY}.key").exists():
            certificates.renew(folder, subjects, days=_CERTIFICATE_DAYS)
        else:
            certificates.create(folder, subjects, days=_CERTIFICATE_DAYS, authority_days=_CERTIFICATE_DAYS)
    except certificates.CannotIssue as error:
        raise StartRefused(str(error).removesuffix(".")) from error


def print_addresses(plan: Plan, state: StateDir) -> None:
    """Print the line that tools wait for, then a table of addresses and pids."""
    table = Table("name", "address", "pid")
    if plan.gateway is None:
        say("mkstore is ready: without a gateway")
    else:
        say(f"mkstore is ready: {plan.gateway.url}")
        table.add_row("gateway", plan.gateway.url, _pid(plan.gateway))
        table.add_row("HTTP API", f"{plan.gateway.url}/docs", "")
        table.add_row("event documentation", f"{plan.gateway.url}/asyncapi", "")
        if plan.traces is not None:
            table.add_row("traces of requests", f"{plan.gateway.url}/asyncapi/requests", "")
    for service in plan.behind_gateway:
        table.add_row(service.name, f"{service.url}/health", _pid(service))
    for node in plan.nats:
        table.add_row("NATS" if len(plan.nats) == 1 else node.name, node.address, _pid(node))
    if not plan.nats:
        table.add_row("NATS", without_login(plan.nats_url), _pid(None))
    for server in plan.postgres:
        role = "PostgreSQL, primary" if server is plan.primary else "PostgreSQL, standby"
        table.add_row(role if plan.pair else "PostgreSQL", server.address, _pid(server))
    if not plan.postgres:
        table.add_row("PostgreSQL", without_login(plan.postgres_url), _pid(None))
    table.add_row("logins", str(state.run_file), "")
    table.add_row("logs", str(state.root / "logs"), "")
    console = Console(file=io.StringIO(), width=160)
    with console.capture() as capture:
        console.print(table)
    say(capture.get().rstrip())


def say(text: str) -> None:
    """Print a line; after the reader has closed standard output, print nothing more and continue."""
    try:
        typer.echo(text)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _pid(managed: ManagedProcess | None) -> str:
    return "external" if managed is None else str(managed.pid)
