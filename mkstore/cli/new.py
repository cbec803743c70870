"""`mkstore new`: writes the code, the tests and the registration of a new part of the project."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mkstore import generated
from mkstore.cli.support import fail

if TYPE_CHECKING:
    from mkstore.new.plan import Plan

app = typer.Typer(help="Add a part to the project.", no_args_is_help=True)

_MKSTORE = "import sys; from mkstore.cli.main import app; app(sys.argv[1:])"
_DOCS = [sys.executable, "-c", _MKSTORE, "docs"]
_ENV = [sys.executable, "-c", _MKSTORE, "env"]

OCCURRENCE = (
    "Then let it occur in `send_everything` of tests/e2e/default_store/test_documents.py: "
    "the test of the documents fails until it does."
)
"""What no command can write: the documents promise only what a test has sent."""

ServiceArgument = Annotated[str, typer.Argument(metavar="SERVICE", help="A service that owns a database.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="List the files that would change; write none.")]


@app.callback()
def new() -> None:
    """Add a part to the project."""


@app.command()
def service(
    name: Annotated[str, typer.Argument(help="One plural word in lowercase letters, such as invoices.")],
    *,
    singular: Annotated[
        str | None, typer.Option("--singular", help="The singular, if it is not NAME without its plural ending.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Add a service with a table, a request, a durable consumer, an event and tests, and register it everywhere."""
    from mkstore.new.names import Names  # noqa: PLC0415 - only this command needs them
    from mkstore.new.service import plan_service  # noqa: PLC0415

    lock = [os.environ.get("UV") or shutil.which("uv") or "uv", "lock", "--quiet"]
    _carry_out(lambda root: plan_service(root, Names.of(name, singular)), [_DOCS, _ENV, lock], dry_run=dry_run)
    typer.echo(f"The service {name} is ready. Test it with: uv run pytest tests/{name}")
    typer.echo("`mkstore up` starts it. A PostgreSQL that Compose has initialized needs its role and database by hand.")


@app.command()
def event(
    service: ServiceArgument,
    name: Annotated[str, typer.Argument(help="A noun and a past participle, such as PaymentFlagged.")],
    *,
    consumer: Annotated[
        str | None, typer.Option("--consumer", metavar="SERVICE", help="Let another service consume the event.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Add an event to a service, with a golden message, a test and, if wanted, a durable consumer in another service.

    The service may then publish it; the line that does so belongs into the transaction of the change.
    """
    from mkstore.new.event import emission, plan_event  # noqa: PLC0415
    from mkstore.new.message_names import EventNames  # noqa: PLC0415

    _carry_out(lambda root: plan_event(root, service, EventNames.of(name), consumer), [_DOCS], dry_run=dry_run)
    typer.echo(
        f"The event {name} is ready. Publish it in the transaction of the change, with the service's repository:"
    )
    typer.echo(f"    {emission(generated.ROOT, service, EventNames.of(name))}")
    folders = [f"tests/{each}" for each in (service, consumer) if each is not None]
    typer.echo(f"Test it with: uv run pytest -n 0 {' '.join(folders)} -k {EventNames.of(name).snake}")
    typer.echo(OCCURRENCE)


@app.command()
def request(
    service: ServiceArgument,
    name: Annotated[str, typer.Argument(help="A verb and a noun, such as CountUsers.")],
    *,
    reply: Annotated[
        str | None, typer.Option("--reply", help="Name of a new reply, such as UserCount; empty without it.")
    ] = None,
    dry_run: DryRunOption = False,
) -> None:
    """Add a request to a service, with its reply, its handler, golden messages and a test."""
    from mkstore.new.message_names import words_of  # noqa: PLC0415
    from mkstore.new.request import plan_request  # noqa: PLC0415

    _carry_out(lambda root: plan_request(root, service, name, reply), [_DOCS], dry_run=dry_run)
    typer.echo(f"The request {name} is ready. Replace its field, that of the reply, and what the handler does.")
    typer.echo(f"Test it with: uv run pytest -n 0 tests/{service} -k {'_'.join(words_of(name))}")
    typer.echo(OCCURRENCE)


def _carry_out(make: Callable[[Path], "Plan"], steps: Sequence[list[str]], *, dry_run: bool) -> None:
    """Print and write the plan, then run `steps`; with `dry_run` only print it, and exit."""
    from mkstore.new.names import NameRefused  # noqa: PLC0415
    from mkstore.new.plan import CannotChange  # noqa: PLC0415

    try:
        plan = make(generated.ROOT)
    except (NameRefused, CannotChange) as error:
        fail(str(error))
    typer.echo("\n".join(plan.lines()))
    if dry_run:
        raise typer.Exit
    plan.write(generated.ROOT)
    for step in (*_layout(plan), *steps):
        _run(step)


def _layout(plan: "Plan") -> Iterator[list[str]]:
    """Return the commands that sort imports, whose order depends on the names, and wrap lines."""
    python = sorted(path for path in (*plan.created, *plan.changed) if Path(path).suffix == ".py")
    yield [sys.executable, "-m", "ruff", "check", "--select", "I", "--fix", "--quiet", *python]
    yield [sys.executable, "-m", "ruff", "format", "--quiet", *python]


def _run(step: list[str]) -> None:
    # Other processes: this one has imported the modules without the new part.
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and uv
            step, cwd=generated.ROOT, capture_output=True, text=True, encoding="utf-8", check=False
        )
    except OSError as error:
        fail(f"The files are written, but {step[0]} did not start: {error.strerror}.")
    if done.returncode:
        command = " ".join(argument for argument in step[1:] if argument != _MKSTORE)
        fail(f"The files are written, but this failed: {command}\n{done.stdout}{done.stderr}".rstrip())
