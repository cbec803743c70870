"""A running store for fault injection: its processes, servers, links and failpoints, and its recovery."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import nats
import psutil
from nats.js import JetStreamContext

from mkstore.chaos.proxied import SOCKET
from mkstore.services import SERVICES
from mkstore.stack.servers.copies import Copies
from mkstore.stack.state_dir import RUN_FILE
from mkstore.stack.supervisor import STABLE_TIME

SERVICE_NAMES = tuple(spec.name for spec in SERVICES)
PROCESSES = (*SERVICE_NAMES, "nats", "postgres")
_POLL_INTERVAL = 0.05
_STABLE_MARGIN = 0.5
"""Seconds by which the supervisor may have noticed that a process is ready later than this module."""


class NotRecovered(Exception):
    """The store did not recover by itself."""


@dataclass
class Store:
    """A running store and its state folder; `output` is the file with what `mkstore up` prints.

    Some stores also have failpoints and links: see `mkstore.chaos.temporary_store`.
    """

    home: Path
    output: Path
    killed: dict[str, int] = field(default_factory=dict)
    """Pids of ended processes by name: the store has recovered when each has a successor."""
    recovered_at: dict[str, float] = field(default_factory=dict)
    """Times on the monotonic clock at which ended processes had recovered."""

    @property
    def record(self) -> dict[str, Any]:
        """Its run file."""
        return dict(json.loads((self.home / RUN_FILE).read_text()))

    @property
    def url(self) -> str:
        """Address of the gateway."""
        return str(self.record["gateway"]["url"])

    def part(self, name: str) -> dict[str, Any]:
        """Return the record of a process: also that of `nats-2` or `postgres-1` of a cluster."""
        record = self.record
        kind = name.partition("-")[0]
        nodes = {node["name"]: node for node in record.get(kind, {}).get("nodes", ())}
        return dict(nodes.get(name) or record[name])

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process; unless it stops or continues it, the process is expected to end."""
        pid = int(self.part(name)["pid"])
        processes = [psutil.Process(pid)]
        if number in {signal.SIGSTOP, signal.SIGCONT}:
            processes += processes[0].children(recursive=True)
        else:
            self.killed[name] = pid
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def send_to_worker(self, service: str, number: signal.Signals) -> None:
        """Send a signal to the first worker of a service, which is expected to end."""
        pid = int(self.record[service]["pids"][0])
        self.killed[service] = pid
        psutil.Process(pid).send_signal(number)

    def failpoint(self, name: str) -> Path:
        """Arm a failpoint such as `payments.after-commit`; return the file that disappears when it is reached."""
        service = name.partition(".")[0]
        self.killed[service] = int(self.record[service]["pid"])
        file = self.home / "failpoints" / name
        file.touch()
        return file

    async def control(self, name: str, command: str) -> None:
        """Change the mode of a link, or stop and start a service; see `mkstore.chaos.proxied`."""
        reader, writer = await asyncio.open_unix_connection(self.home / SOCKET)
        writer.write(f"{name} {command}\n".encode())
        await reader.readline()
        writer.close()

    async def wait_until_recovered(self, timeout: float = 90.0) -> None:  # noqa: ASYNC109 - the error says what is missing
        """Return once every killed process has a successor and every service is ready.

        Raises `NotRecovered` after `timeout` seconds.
        """
        reason = "?"

        async def recovered() -> bool:
            nonlocal reason
            record = self.record
            for name, pid in self.killed.items():
                part = self.part(name)
                workers = part.get("pids", [])
                if part["pid"] in {pid, None} or pid in workers or len(workers) == 1:
                    reason = f"{name} has no successor"
                    return False
            for service in SERVICE_NAMES:
                try:
                    answer = await http.get(record[service]["url"] + "/health/ready")
                    if not answer.is_success:
                        reason = answer.text
                        return False
                except httpx.TransportError as error:
                    reason = f"{service}: {error!r}"
                    return False
            if fault := await _missing(record, http):
                reason = fault
            return not fault

        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            if not await eventually(recovered, timeout=timeout):
                raise NotRecovered(f"not recovered after {timeout:g} s: {reason}\n{self.output.read_text()[-2000:]}")
        self.recovered_at |= dict.fromkeys(self.killed, time.monotonic())
        self.killed.clear()

    async def wait_until_stable(self, names: Iterable[str]) -> None:
        """Return when the supervisor regards these processes as stable, so that it restarts them without a delay."""
        recovered = (self.recovered_at[name] for name in names if name in self.recovered_at)
        at = max((since + STABLE_TIME + _STABLE_MARGIN for since in recovered), default=0.0)
        await asyncio.sleep(max(0.0, at - time.monotonic()))

    @asynccontextmanager
    async def database(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        """Connect to a database with the superuser's login."""
        url = urlsplit(self.record["postgres"]["url"])
        connection = await asyncpg.connect(urlunsplit(url._replace(path=f"/{name}")))
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def jetstream(self) -> AsyncIterator[JetStreamContext]:
        """Connect to JetStream with the operator's login."""
        client = await nats.connect(self.record["nats"]["admin_url"].split(","), connect_timeout=5)
        try:
            yield client.jetstream()
        finally:
            await client.close()

    def memory(self, name: str) -> int:
        """Return the resident memory of a process in bytes; 0 if it does not run."""
        with suppress(psutil.Error):
            return int(psutil.Process(self.record[name]["pid"]).memory_info().rss)
        return 0


async def _missing(record: dict[str, Any], http: httpx.AsyncClient) -> str:
    """Return what a cluster lacks of having all copies; empty for any other store."""
    for node in record["nats"].get("nodes", ()):
        try:
            if not (answer := await http.get(f"{node['monitor_url']}/healthz")).is_success:
                return f"{node['name']}: {answer.text}"
        except httpx.TransportError as error:
            return f"{node['name']}: {error!r}"
    if "copies" in record["postgres"]:
        copies = Copies(Path(record["postgres"]["copies"]), record["postgres"]["nodes"][0]["name"])
        return "" if copies.complete else "PostgreSQL has one copy"
    return ""


async def eventually(condition: Callable[[], Awaitable[bool]], *, timeout: float) -> bool:  # noqa: ASYNC109 - it returns False
    """Poll until `condition` holds; return False if it does not hold after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_INTERVAL)
    return True
