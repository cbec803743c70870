"""Starts a store in a temporary state folder, for fault injection or for a benchmark."""

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path

from mkstore.chaos.proxied import ROUTES, SERVICE_LINKS, SMALL_DISK
from mkstore.chaos.store import NotRecovered, Store, eventually
from mkstore.stack.state_dir import RUN_FILE

_REMEMBERED_KEYS = 1000
"""So few that the memory of keys is purged in every round; more than are used between a key and its repetition."""
_DELIVERY_CRASHES = 2
"""So few that a message which kills its process is given up within a minute."""
_TOKEN_SECONDS = 3600
"""As long as allowed: payers sign in once, and a run of all faults on a slow machine takes more than 15 minutes."""
_NOT_INHERITED = frozenset({"NATS_URL", "DB_HOST", "JWT_SECRET", "SHARDS"})
"""Variables with which the store would use other servers or shards."""
_START_TIMEOUT, _STOP_TIMEOUT = 90.0, 60.0


class Kind(Enum):
    """How a store is started."""

    DEFAULT = auto()
    """With the processes that `mkstore up` chooses."""
    PLAIN = auto()
    """With one process per service."""
    TWO_WORKERS = auto()
    """With two worker processes per service."""
    PROXIED = auto()
    """With links between services and servers."""

    CLUSTER = auto()
    """A cluster."""
    CLUSTER_LINKS = auto()
    """A cluster whose NATS servers connect through links."""
    CLUSTER_SMALL_DISK = auto()
    """A cluster in which the disk of the first NATS server is small."""

    @property
    def is_cluster(self) -> bool:
        """Whether it is a cluster."""
        return self in {Kind.CLUSTER, Kind.CLUSTER_LINKS, Kind.CLUSTER_SMALL_DISK}


_WORKERS = {Kind.PLAIN: "1", Kind.TWO_WORKERS: "2"}
_LAYOUTS = {Kind.PROXIED: SERVICE_LINKS, Kind.CLUSTER_LINKS: ROUTES, Kind.CLUSTER_SMALL_DISK: SMALL_DISK}


@asynccontextmanager
async def running(kind: Kind, settings: Mapping[str, str] | None = None) -> AsyncIterator[Store]:
    """Start a store in a temporary state folder; stop it and remove the folder at the end.

    Rate limits and traces are off, failpoints on, and only warnings logged, unless `settings` has other values.

    Raises `NotRecovered` if it does not start.
    """
    home = _new_home()
    output = home / "output"
    if kind in _LAYOUTS:
        command = [sys.executable, "-m", "mkstore.chaos.proxied", str(home), _LAYOUTS[kind]]
    else:
        program = str(Path(sysconfig.get_path("scripts"), "mkstore"))
        command = [program, "up", "--home", str(home), "--ephemeral", "--port", "0"]
        command += ["--workers", _WORKERS[kind]] if kind in _WORKERS else []
        command += ["--cluster"] if kind is Kind.CLUSTER else []
    own = {
        "RATE_LIMIT_ENABLED": "false",
        "FAILPOINTS": str(home / "failpoints"),
        "LOG_LEVEL": "WARNING",
        "REMEMBERED_KEYS": str(_REMEMBERED_KEYS),
        "DELIVERY_CRASHES": str(_DELIVERY_CRASHES),
        "ACCESS_TOKEN_SECONDS": str(_TOKEN_SECONDS),
        "OTEL_SDK_DISABLED": "true",
    }
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - it returns at once; a fixed command
            command,
            env={**inherited, **own, **(settings or {})},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        async def started() -> bool:
            if process.poll() is not None:
                raise NotRecovered(f"the store did not start:\n{output.read_text()}")
            return (home / RUN_FILE).exists()

        if not await eventually(started, timeout=_START_TIMEOUT):
            raise NotRecovered(f"the store did not start:\n{output.read_text()}")
        yield Store(home, output)
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_TIMEOUT)
        finally:
            process.kill()
            shutil.rmtree(home, ignore_errors=True)


def _new_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="mkstore-store-"))
    home.chmod(0o711)  # PostgreSQL may run as another user, which must be able to traverse it
    (home / "failpoints").mkdir()
    return home
