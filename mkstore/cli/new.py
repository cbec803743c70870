"""`mkstore new`: writes the code, the tests and the registration of a new part of the project."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mkstore import generated
from mkstore.cli.support import fail

if TYPE_CHECKING:
    from mkstore.new.plan import Plan

app = typer.Typer(help="Add a part to the project.", no_args_is_help=True)

_MKSTORE = "import sys; from mkstore.cli.main import app; app(sys.argv[1:])"


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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files that would change; write none.")] = False,
) -> None:
    """Add a service with a table, a request, a durable consumer, an event and tests, and register it everywhere."""
    from mkstore.new.names import NameRefused, Names  # noqa: PLC0415 - only this command needs them
    from mkstore.new.plan import CannotChange, plan_service  # noqa: PLC0415

    try:
        names = Names.of(name, singular)
        plan = plan_service(generated.ROOT, names)
    except (NameRefused, CannotChange) as error:
        fail(str(error))
    typer.echo("\n".join(plan.lines()))
    if dry_run:
        return
    plan.write(generated.ROOT)
    for step in _steps(plan):
        _run(step)
    typer.echo(f"The service {name} is ready. Test it with: uv run pytest tests/{name}")
    typer.echo("`mkstore up` starts it. A PostgreSQL that Compose has initialized needs its role and database by hand.")


def _steps(plan: "Plan") -> Iterator[list[str]]:
    """Return what follows the writing: the order of imports depends on the name, and the documents on the code."""
    python = sorted(path for path in (*plan.created, *plan.changed) if Path(path).suffix == ".py")
    yield [sys.executable, "-m", "ruff", "check", "--select", "I", "--fix", "--quiet", *python]
    yield [sys.executable, "-m", "ruff", "format", "--quiet", *python]
    # Other processes: this one has imported the list of services without the new one.
    yield [sys.executable, "-c", _MKSTORE, "docs"]
    yield [sys.executable, "-c", _MKSTORE, "env"]
    yield [os.environ.get("UV") or shutil.which("uv") or "uv", "lock", "--quiet"]


def _run(step: list[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and uv
            step, cwd=generated.ROOT, capture_output=True, text=True, encoding="utf-8", check=False
        )
    except OSError as error:
        fail(f"The files are written, but {step[0]} did not start: {error.strerror}.")
    if done.returncode:
        command = " ".join(argument for argument in step[1:] if argument != _MKSTORE)
        fail(f"The files are written, but this failed: {command}\n{done.stdout}{done.stderr}".rstrip())
