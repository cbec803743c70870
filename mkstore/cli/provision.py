"""`mkstore provision`: creates and updates the streams and durable consumers on NATS."""

import asyncio
import os

import typer

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
