"""What the operator's commands share: where the store is, a connection to it, and two ways to print."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from mkstore.stack.state_dir import DEFAULT_STATE_DIR, RUN_FILE

if TYPE_CHECKING:
    from kit.messaging.broker import Broker

Result = TypeVar("Result")

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="The home of a running `mkstore up`, instead of the servers that the environment names."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_CONNECT_SECONDS = 5.0


def run_record(home: Path) -> dict[str, Any]:
    """Return what a running `mkstore up` says of itself; ends the command with a sentence where none runs."""
    try:
        record: dict[str, Any] = json.loads((home / RUN_FILE).read_text())
    except FileNotFoundError:
        fail(f"No mkstore runs in {home}: there is no {RUN_FILE}.")
    except OSError as error:
        fail(f"{home / RUN_FILE} cannot be read: {error.strerror}.")
    return record


def nats_url(home: Path | None) -> str:
    """Return where NATS is: that of `home`, else of the environment, else of the default home."""
    if home is None and (url := os.environ.get("NATS_URL")):
        return url
    return str(run_record(home or DEFAULT_STATE_DIR)["nats"]["admin_url"])


def on_nats(home: Path | None, work: Callable[["Broker"], Awaitable[Result]]) -> Result:
    """Do `work` on a connection; a refusal or a missing server ends the command with a sentence and exit code 1."""
    from kit.errors import Refusal  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from kit.messaging.broker import Broker  # noqa: PLC0415
    from kit.runtime.logging import configure_logging  # noqa: PLC0415

    url = nats_url(home)
    configure_logging("CRITICAL", "console")  # what goes wrong is said in a sentence below

    async def run() -> Result:
        broker = Broker(url, name="mkstore")
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await broker.connect()
            return await work(broker)
        finally:
            await broker.stop()

    try:
        return asyncio.run(run())
    except Refusal as error:
        fail(str(error))
    except (OSError, TimeoutError):
        fail("NATS does not answer.")


def show(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows as a table for people or as JSON for programs."""
    if as_json:
        typer.echo(json.dumps(list(rows), indent=2))
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        # As Text: what stands in brackets would be taken for markup, and fail or vanish.
        table.add_row(*(Text(str(row.get(column, "")), overflow="fold") for column in columns))
    Console().print(table)


def fail(sentence: str) -> NoReturn:
    """End the command with a sentence on standard error and exit code 1."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
