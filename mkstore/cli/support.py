"""Shared by the operator commands: the address of the store, a connection, and output as table or JSON."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from contracts.shards import MAX_SHARDS, Shards
from kit.runtime.secrets import UnreadableSecret, with_secret_files
from mkstore.services import SECRET_VARIABLES, SERVICES, of_shards
from mkstore.stack.servers import is_reachable
from mkstore.stack.state_dir import DEFAULT_STATE_DIR, ENVIRONMENTS_FILE, RUN_FILE

if TYPE_CHECKING:
    from kit.messaging.broker import Broker
    from kit.messaging.client import RequestClient
    from kit.runtime.client_security import ClientSecurity

Result = TypeVar("Result")

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="State folder of a running `mkstore up`; overrides NATS_URL."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_CONNECT_TIMEOUT = 5.0


def run_record(home: Path) -> dict[str, Any]:
    """Return the run file of a running `mkstore up`; exit 1 with a message if there is none."""
    try:
        record: dict[str, Any] = json.loads((home / RUN_FILE).read_text())
    except FileNotFoundError:
        fail(f"No mkstore runs in {home}: {RUN_FILE} is missing. Run `mkstore up`, or set --home or NATS_URL.")
    except ValueError:
        fail(f"{home / RUN_FILE} is damaged: stop `mkstore up` if it runs, remove the file and start it again.")
    except OSError as error:
        fail(f"{home / RUN_FILE} cannot be read: {error.strerror}. Run this as the user of `mkstore up`.")
    return record


def chosen_record(home: Path | None) -> dict[str, Any] | None:
    """Return the run file of a running `mkstore up`; None if the environment names the servers, by NATS_URL."""
    if home is None and environment().get("NATS_URL"):
        return None
    return run_record(home or DEFAULT_STATE_DIR)


def environment() -> dict[str, str]:
    """Return the environment, with the secrets that stand in files; exit 1 with a message if one cannot be read."""
    try:
        return with_secret_files(SECRET_VARIABLES, os.environ)
    except UnreadableSecret as error:
        fail(str(error))


def nats_server(home: Path | None) -> tuple[str, "ClientSecurity"]:
    """Return the address of NATS, and TLS and login of its connections; exit 1 with a message if a file is invalid.

    They are those of the state folder `home`, else of the environment if NATS_URL is set, else of the default folder.
    """
    from kit.runtime.client_security import ClientSecurity  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from kit.runtime.tls_settings import tls_problems  # noqa: PLC0415 - same reason

    variables = environment()
    url = variables.get("NATS_URL") if home is None else None
    if not url:
        server = run_record(home or DEFAULT_STATE_DIR)["nats"]
        url, variables = str(server["admin_url"]), dict(server.get("security") or {})
    if problems := tls_problems(variables):
        fail("\n".join(problems))
    return url, ClientSecurity.in_environment(variables)


def shards_of(home: Path | None) -> Shards:
    """Return the shards of the payments: those of the state folder `home`, else SHARDS, as `nats_url` chooses."""
    if home is None and environment().get("NATS_URL"):
        count = environment().get("SHARDS") or "1"
    else:
        count = _shards_in(home or DEFAULT_STATE_DIR)
    try:
        return Shards(int(count))
    except ValueError:
        fail(f"SHARDS must be 1 to {MAX_SHARDS}, not {count!r}.")


def database_addresses(home: Path | None) -> dict[str, str]:
    """Return the address of each database, by the name of its service or shard, with an operator's login."""
    from mkstore.stack.service_process import DatabaseLogin  # noqa: PLC0415 - slow to import, and `--help` is not

    owned = {spec.name: spec.database for spec in of_shards(SERVICES, shards_of(home)) if spec.database is not None}
    if record := chosen_record(home):
        maintenance = str(record["postgres"]["url"]).rpartition("/")[0]
        return {service: f"{maintenance}/{name}" for service, name in owned.items()}
    login = DatabaseLogin.in_environment(environment())
    return {service: login.url_of(name) for service, name in owned.items()}


def _shards_in(home: Path) -> str:
    run_record(home)  # a message if no store runs there
    try:
        environments = json.loads((home / ENVIRONMENTS_FILE).read_text())
    except (OSError, ValueError):
        fail(f"{home / ENVIRONMENTS_FILE} cannot be read: start `mkstore up` again, as your user.")
    return next((env["SHARDS"] for env in environments.values() if "SHARDS" in env), "1")


def on_nats(home: Path | None, work: Callable[["Broker"], Awaitable[Result]]) -> Result:
    """Run `work` on a connection; on a refusal or without a server, exit 1 with a message."""
    from kit.errors import CannotStart, Refusal  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from kit.messaging.broker import Broker  # noqa: PLC0415
    from kit.runtime.logging import configure_logging  # noqa: PLC0415

    url, security = nats_server(home)
    configure_logging("CRITICAL", "console")  # errors are printed below

    async def run() -> Result:
        if not await is_reachable(url):  # the broker would retry
            raise ConnectionRefusedError
        broker = Broker(url, name="mkstore", security=security)
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await broker.connect()
            return await work(broker)
        finally:
            await broker.stop()

    try:
        return asyncio.run(run())
    except (Refusal, CannotStart) as error:
        fail(str(error))
    except (OSError, TimeoutError):
        fail(f"NATS does not answer: start it, or set {'NATS_URL' if home is None else '--home'} to a running one.")


def on_services(
    home: Path | None, work: Callable[["RequestClient"], Awaitable[Result]], *, timeout: float = 2.0
) -> Result:
    """Run `work` with a client of the services, which waits at most `timeout` seconds for each reply; see `on_nats`."""
    from kit.messaging.client import RequestClient  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    return on_nats(home, lambda broker: work(RequestClient(broker, timeout)))


def show(title: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print rows as a table or as JSON."""
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
        # As Text: brackets in a string would be parsed as markup, and fail or disappear.
        table.add_row(*(Text(str(row.get(column, "")), overflow="fold") for column in columns))
    Console().print(table)


def fail(sentence: str) -> NoReturn:
    """Print a message on standard error and exit 1."""
    typer.echo(sentence, err=True)
    raise typer.Exit(1)
