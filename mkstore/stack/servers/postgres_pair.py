"""Two PostgreSQL servers, a primary and a standby that has a copy of each commit before it returns."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg

from mkstore.stack import ports, processes
from mkstore.stack.managed_process import ProcessFailed
from mkstore.stack.servers.accounts import Account, postgres_program
from mkstore.stack.servers.copies import Copies
from mkstore.stack.servers.postgres import PostgresServer

NAMES = ("postgres-1", "postgres-2")
SIGNAL = "standby.signal"
"""The file in a standby's data that makes PostgreSQL start it as one."""

_SETTINGS = {
    # Each side notices within 2 s that the other one is silent.
    "wal_sender_timeout": "2s",
    "wal_receiver_timeout": "2s",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "200ms",
    # A standby that is away longer than this is copied anew, so that it cannot fill the primary's disk.
    "max_slot_wal_keep_size": "1GB",
}
_PRIMARY_TIMEOUT = 60.0
_CONNECT_TIMEOUT = 2.0
_POLL_INTERVAL = 0.05
_CREATE_SLOT = """
SELECT pg_create_physical_replication_slot($1, true)
WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)
"""
_SLOT_LOST = "SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1 AND wal_status = 'lost')"


class PostgresNode(PostgresServer):
    """A PostgreSQL that is the primary or the standby, whichever `copies` says when it starts; `peer` is the other.

    A node that is not the primary never starts without being a standby: the data of a former primary are rewound to
    what the new one has.
    """

    peer: "PostgresNode"

    def __init__(self, name: str, folder: Path, *, copies: Copies, **options: Any) -> None:
        super().__init__(folder, **options)
        self.name = name
        self.copies = copies
        self._slot = name.replace("-", "_")

    @property
    def is_primary(self) -> bool:
        """Whether it is, or is to become, the primary."""
        return self.copies.primary == self.name

    @property
    def is_standby(self) -> bool:
        """Whether its data are those of a standby, which accepts no writes."""
        return (self.data / SIGNAL).exists()

    def prepare(self) -> None:
        """Create the data of a primary, or copy those of a standby from the primary once that runs.

        Raises `ProcessFailed` if that fails, or if a primary has lost the data of which the standby has a copy.
        """
        if self.is_primary and self.data.exists():
            self.find_account()
        elif self.is_primary:
            if self.peer.data.exists():
                raise ProcessFailed(self.name, f"has lost its data; {self.peer.name} has a copy: `mkstore promote`", "")
            super().prepare()
        else:
            self.find_account()
            self._follow()

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server. Raises `ProcessFailed` rather than to start a second primary.

        The roles may have changed since `prepare`: a repetition makes its data those of a standby.
        """
        if not self.is_primary and not self.is_standby:
            raise ProcessFailed(self.name, "is not the primary any more, and its data are not those of a standby", "")
        self._write_password()
        return super().launch()

    def settings(self) -> dict[str, str]:
        """Return the server's settings."""
        conninfo = {"primary_conninfo": self._conninfo(), "primary_slot_name": self._slot}
        return super().settings() | _SETTINGS | conninfo | {"cluster_name": self.name}

    def _follow(self) -> None:
        """Make its data those of a standby of the other node."""
        if self.is_standby and not self._is_too_old():
            return
        processes.kill_all(self.leftovers)
        self._write_password()
        self._wait_for_primary()
        asyncio.run(self._on_primary(_CREATE_SLOT, self._slot))
        if self.is_standby or not self.data.exists() or not self._rewind():
            self._copy()

    def _rewind(self) -> bool:
        """Undo in the data of a former primary what the new one does not have; return False if that is impossible."""
        command = ("pg_rewind", "--target-pgdata", str(self.data), "--source-server", self._conninfo("dbname=postgres"))
        if self._run(*command) != 0:
            return False
        self._mark_standby(self.data)
        return True

    def _copy(self) -> None:
        """Copy the primary's data; a kill at any moment leaves the old copy or the new one, and both complete."""
        staging, old = self.folder / "data.new", self.folder / "data.old"
        for folder in (staging, old):
            shutil.rmtree(folder, ignore_errors=True)
        command = ("pg_basebackup", "--pgdata", str(staging), "--dbname", self._conninfo(), "--slot", self._slot)
        code = self._run(*command, "--wal-method", "stream", "--checkpoint", "fast")
        if code != 0:
            log = processes.tail(self.log)
            raise ProcessFailed(self.name, f"could not copy the primary: pg_basebackup ended with {code}", log)
        self._mark_standby(staging)
        if self.data.exists():
            self.data.rename(old)
        staging.rename(self.data)
        shutil.rmtree(old, ignore_errors=True)

    def _mark_standby(self, data: Path) -> None:
        (data / SIGNAL).touch(mode=0o600)
        self._owner().take_ownership(data / SIGNAL)

    def _is_too_old(self) -> bool:
        """Return whether the primary has removed changes that this standby does not have; False while it is away."""
        try:
            return bool(asyncio.run(self._on_primary(_SLOT_LOST, self._slot)))
        except (OSError, asyncpg.PostgresError):
            return False

    def _wait_for_primary(self) -> None:
        deadline = time.monotonic() + _PRIMARY_TIMEOUT
        while True:
            try:
                if not asyncio.run(self._on_primary("SELECT pg_is_in_recovery()")):
                    return
                reason = f"{self.peer.name} is not the primary yet"
            except (OSError, asyncpg.PostgresError) as error:
                reason = f"{self.peer.name} does not answer ({str(error) or type(error).__name__})"
            if time.monotonic() > deadline:
                raise ProcessFailed(self.name, f"could not follow the primary: {reason}", "")
            time.sleep(_POLL_INTERVAL)

    async def _on_primary(self, query: str, *arguments: object) -> object:
        connection = await asyncpg.connect(self.peer.url, timeout=_CONNECT_TIMEOUT, command_timeout=_CONNECT_TIMEOUT)
        try:
            return await connection.fetchval(query, *arguments)
        finally:
            connection.terminate()

    def _conninfo(self, more: str = "") -> str:
        """Return how libpq connects to the other node; the password stands in a file, not in a command line."""
        where = f"host={ports.LOOPBACK} port={self.peer.port} user={self.user} application_name={self.name}"
        return f"{where} passfile={self._password_file} {more}".strip()

    @property
    def _password_file(self) -> Path:
        return self.folder.resolve() / "pgpass"

    def _write_password(self) -> None:
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(f"*:*:*:{self.user}:{self.password}\n")
        self._owner().take_ownership(self._password_file)

    def _run(self, program: str, *arguments: str) -> int:
        command = [*self._owner().prefix, postgres_program(program), *arguments]
        return self._spawn(command, death_signal=None).wait()

    def _owner(self) -> Account:
        return self._account or self.find_account()


def pair_of(folder: Path, *, password: str, log: Callable[[str], Path]) -> tuple[PostgresNode, PostgresNode]:
    """Return a primary and a standby, each in its own folder inside `folder`; starts nothing."""
    copies = Copies(folder / "copies", NAMES[0])
    one, two = (PostgresNode(name, folder / name, copies=copies, password=password, log=log(name)) for name in NAMES)
    one.peer, two.peer = two, one
    return one, two
