"""A running store for fault injection: its processes, links and failpoints, and its recovery."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

import httpx
import psutil

from mkstore.chaos.proxied import SOCKET
from mkstore.services import SERVICES
from mkstore.stack.state_dir import RUN_FILE
from mkstore.stack.supervisor import STABLE_TIME

SERVICE_NAMES = tuple(spec.name for spec in SERVICES)
PROCESSES = (*SERVICE_NAMES, "nats", "postgres")
_START_TIMEOUT, _STOP_TIMEOUT = 90.0, 60.0
_POLL_INTERVAL = 0.05
_STABLE_MARGIN = 0.5
"""Seconds by which the supervisor may have noticed that a process is ready later than this module."""


class Kind(Enum):
    """How a store is started."""

    PLAIN = auto()
    TWO_WORKERS = auto()
    """With two worker processes per service."""
    PROXIED = auto()
    """With links between services and servers."""


class NotRecovered(Exception):
    """The store did not recover by itself."""


@dataclass
class Store:
    """A store that runs as in operation, with a folder of failpoints and, if it is proxied, links."""

    process: subprocess.Popen[bytes]
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

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process; unless it stops or continues it, the process is expected to end."""
        pid = int(self.record[name]["pid"])
        processes = [psutil.Process(pid)]
        if number in {signal.SIGSTOP, signal.SIGCONT}:
            processes += processes[0].children(recursive=True)
        else:
            self.killed[name] = pid
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill_worker(self, service: str) -> None:
        """Kill the first worker of a service with SIGKILL."""
        pid = int(self.record[service]["pids"][0])
        self.killed[service] = pid
        psutil.Process(pid).kill()

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
                workers = record[name].get("pids", [])
                if record[name]["pid"] in {pid, None} or pid in workers or len(workers) == 1:
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
            return True

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

    def memory(self, name: str) -> int:
        """Return the resident memory of a process in bytes; 0 if it does not run."""
        with suppress(psutil.Error):
            return int(psutil.Process(self.record[name]["pid"]).memory_info().rss)
        return 0


def _new_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="mkstore-prove-"))
    home.chmod(0o711)  # PostgreSQL may run as another user, which must be able to traverse it
    (home / "failpoints").mkdir()
    return home


async def eventually(condition: Callable[[], Awaitable[bool]], *, timeout: float) -> bool:  # noqa: ASYNC109 - it returns False
    """Poll until `condition` holds; return False if it does not hold after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_INTERVAL)
    return True


@asynccontextmanager
async def running(kind: Kind) -> AsyncIterator[Store]:
    """Start a store in a temporary state folder; stop it and remove the folder at the end.

    Raises `NotRecovered` if it does not start.
    """
    home = _new_home()
    output = home / "output"
    if kind is Kind.PROXIED:
        command = [sys.executable, "-m", "mkstore.chaos.proxied", str(home)]
    else:
        program = str(Path(sysconfig.get_path("scripts"), "mkstore"))
        command = [program, "up", "--home", str(home), "--ephemeral", "--port", "0"]
        command += ["--workers", "2"] if kind is Kind.TWO_WORKERS else []
    settings = {"RATE_LIMIT_ENABLED": "false", "FAILPOINTS": str(home / "failpoints"), "LOG_LEVEL": "WARNING"}
    inherited = {name: value for name, value in os.environ.items() if name not in {"NATS_URL", "DB_HOST", "JWT_SECRET"}}
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - it returns at once; a fixed command
            command,
            env=inherited | settings,
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
        yield Store(process, home, output)
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_TIMEOUT)
        finally:
            process.kill()
            shutil.rmtree(home, ignore_errors=True)
