"""`mkstore backup` and `mkstore restore`: all databases and streams of a store in one folder."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mkstore.cli.support import HomeOption, JsonOption, chosen_record, database_addresses, on_nats, shards_of, show
from mkstore.services import SERVICES, of_shards

if TYPE_CHECKING:
    from kit.messaging.broker import Broker
    from mkstore.backup.manifest import Manifest

_COLUMNS = ("part", "contents", "bytes")
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the backup.")]


def backup(folder: FolderArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Write a backup of all databases and streams into a new folder; the store keeps running.

    NATS_URL and DB_HOST, DB_PORT, DB_USER and DB_PASSWORD name the servers, with an operator's logins, unless --home is
    given. What was answered before is in the backup. It has no secret of the environment, such as JWT_SECRET, but it
    has personal data: its files are readable by their owner only.
    """
    from mkstore.backup.backing_up import back_up  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    databases, shards = database_addresses(home), shards_of(home)

    async def work(broker: "Broker") -> "Manifest":
        return await back_up(broker.client, databases, folder, shards=shards)

    _show(f"backup in {folder}", on_nats(home, work), as_json=as_json)


def restore(folder: FolderArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Restore a backup into an empty store whose services do not run.

    NATS_URL and DB_HOST, DB_PORT, DB_USER and DB_PASSWORD name the servers, with an operator's logins, unless --home is
    given. The databases must exist. A damaged backup and a store that is not empty are refused before anything is
    written. After an interruption, repeat it before a service starts.
    """
    from kit.ops import provisioning  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
    from kit.ops.revisions import known_revisions  # noqa: PLC0415 - same reason
    from mkstore.backup.restoring import Target, restore  # noqa: PLC0415 - same reason

    databases, shards = database_addresses(home), shards_of(home)
    revisions = {
        spec.name: known_revisions(spec.migrations.parent / "migrations")
        for spec in of_shards(SERVICES, shards)
        if spec.migrations
    }

    record = chosen_record(home)
    nodes = len(record["nats"].get("nodes") or ()) if record else 0
    sizes = provisioning.sizes_in({"STREAM_REPLICAS": str(nodes or 1), **os.environ})._replace(shards=shards.count)

    async def work(broker: "Broker") -> "Manifest":
        target = Target(broker.client, databases, revisions, sizes)
        return await restore(target, folder)

    _show(f"restored from {folder}; start the services", on_nats(home, work), as_json=as_json)


def _show(title: str, manifest: "Manifest", *, as_json: bool) -> None:
    rows = [
        {"part": each.service, "contents": f"database, schema {each.revision}", "bytes": each.file.bytes}
        for each in manifest.databases
    ]
    rows += [
        {"part": each.name, "contents": f"stream, {each.state['messages']} messages", "bytes": each.file.bytes}
        for each in manifest.streams
    ]
    show(title, _COLUMNS, rows, as_json=as_json)
