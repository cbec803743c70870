"""`mkstore provision` and `mkstore accounts`: streams, durable consumers and accounts of NATS."""

import asyncio
import os
from pathlib import Path
from typing import Annotated

import typer

from contracts.logins import OPERATOR
from contracts.shards import MAX_SHARDS, Shards
from mkstore.cli.support import HomeOption, JsonOption, fail, nats_server, show


def provision(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Create or update streams and durable consumers on NATS, with an operator's login; print the changes.

    NATS_URL names the server, unless --home is given. What is right already stays as it is; no message is removed.
    """
    from kit.ops import provisioning  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from kit.runtime.logging import configure_logging  # noqa: PLC0415

    configure_logging("CRITICAL", "console")  # the changes are printed below
    try:
        url, security = nats_server(home)
        changes = asyncio.run(provisioning.provision(url, provisioning.sizes_in(os.environ), security))
    except provisioning.NotProvisioned as error:
        fail(str(error))
    if not changes and not as_json:
        typer.echo(provisioning.UNCHANGED)
        return
    rows = [change._asdict() for change in changes]
    show("provisioned", ["kind", "name", "action", "detail"], rows, as_json=as_json)


def accounts(
    shards: Annotated[int, typer.Option(min=1, max=MAX_SHARDS, envvar="SHARDS", help="Shards of the payments.")] = 1,
    nkeys: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of `mkstore nkeys`: keys in place of passwords.")
    ] = None,
) -> None:
    """Print the NATS accounts of all services, for nats.conf; with one shard that is deploy/nats-accounts.conf."""
    from mkstore import nats_accounts, rights  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from mkstore.nkeys import NoKey, public_keys  # noqa: PLC0415 - same reason
    from mkstore.services import SERVICES  # noqa: PLC0415 - same reason

    every = rights.every(sorted(spec.name for spec in SERVICES), Shards(shards))
    logins = [*(each.login for each in every), OPERATOR]
    try:
        keys = public_keys(nkeys, logins) if nkeys else None
    except NoKey as error:
        fail(f"{error}.")
    except OSError as error:
        fail(f"{error.filename} cannot be read: {error.strerror}.")
    typer.echo(nats_accounts.as_configuration(every, keys), nl=False)
