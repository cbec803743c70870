"""A running store to break: its processes, its links, its failpoints, and whether it is whole."""

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
from mkstore.stack.state_dir import RUN_FILE
from mkstore.stack.supervisor import STEADY

SERVICES = ("gateway", "users", "payments")
PARTS = (*SERVICES, "nats", "postgres")
_START_SECONDS, _STOP_SECONDS = 90.0, 60.0
_POLL = 0.05
_MARGIN = 0.5
"""Seconds by which the supervisor may have seen a part ready later than it was seen here."""


class Kind(Enum):
    """What a store is started as."""

    PLAIN = auto()
    DOUBLED = auto()
    """With two processes of every service."""
    STAGED = auto()
    """With links between the services and the servers."""


class NotWhole(Exception):
    """The store did not come back by itself."""


@dataclass
class Store:
    """A store that runs as its operator runs it, with a folder of failpoints and, on a stage, links."""

    process: subprocess.Popen[bytes]
    home: Path
    output: Path
    dead: dict[str, int] = field(default_factory=dict)
    """The processes that were ended, by part: it is whole again when each has a successor."""
    back: dict[str, float] = field(default_factory=dict)
    """When parts that had ended were whole again, on the monotonic clock."""

    @property
    def record(self) -> dict[str, Any]:
        """Its run file."""
        return dict(json.loads((self.home / RUN_FILE).read_text()))

    @property
    def url(self) -> str:
        """The gateway."""
        return str(self.record["gateway"]["url"])

    def send(self, part: str, number: signal.Signals) -> None:
        """Send a signal to a part; one that ends it makes it wait for a successor."""
        pid = int(self.record[part]["pid"])
        processes = [psutil.Process(pid)]
        if number in {signal.SIGSTOP, signal.SIGCONT}:
            processes += processes[0].children(recursive=True)
        else:
            self.dead[part] = pid
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill_worker(self, part: str) -> None:
        """Kill the first worker of a service with -9."""
        pid = int(self.record[part]["pids"][0])
        self.dead[part] = pid
        psutil.Process(pid).kill()

    def failpoint(self, name: str) -> Path:
        """Make the process of a service die at a point, such as `payments.after-commit`; returns what goes then."""
        part = name.partition(".")[0]
        self.dead[part] = int(self.record[part]["pid"])
        file = self.home / "failpoints" / name
        file.touch()
        return file

    async def tell(self, name: str, what: str) -> None:
        """Change a link of the stage, or send a service away and call it back; returns when that is done."""
        reader, writer = await asyncio.open_unix_connection(self.home / SOCKET)
        writer.write(f"{name} {what}\n".encode())
        await reader.readline()
        writer.close()

    async def wait_until_whole(self, within: float = 90.0) -> None:
        """Return once every dead part has a successor and every service says that it is ready.

        Raises:
            NotWhole: that is not so after `within` seconds.

        """
        reason = "?"

        async def whole() -> bool:
            nonlocal reason
            record = self.record
            for part, pid in self.dead.items():
                if (
                    record[part]["pid"] in {pid, None}
                    or pid in (pids := record[part].get("pids", []))
                    or len(pids) == 1
                ):
                    reason = f"{part} has no successor"
                    return False
            for service in SERVICES:
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
            if not await eventually(whole, within=within):
                raise NotWhole(f"not whole after {within:g} s: {reason}\n{self.output.read_text()[-2000:]}")
        self.back |= dict.fromkeys(self.dead, time.monotonic())
        self.dead.clear()

    async def wait_until_steady(self, parts: Iterable[str]) -> None:
        """Return when the end of any of `parts` is the first again, after which it is started again without a pause."""
        at = max((self.back[part] + STEADY + _MARGIN for part in parts if part in self.back), default=0.0)
        await asyncio.sleep(max(0.0, at - time.monotonic()))

    def memory(self, part: str) -> int:
        """Return the bytes of memory that a part's first process uses."""
        with suppress(psutil.Error):
            return int(psutil.Process(self.record[part]["pid"]).memory_info().rss)
        return 0


def _new_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix="mkstore-prove-"))
    home.chmod(0o711)  # whoever PostgreSQL runs as must pass
    (home / "failpoints").mkdir()
    return home


async def eventually(look: Callable[[], Awaitable[bool]], *, within: float) -> bool:
    """Look again and again until it is so; False when it is not after `within` seconds."""
    deadline = time.monotonic() + within
    while not await look():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL)
    return True


@asynccontextmanager
async def running(kind: Kind) -> AsyncIterator[Store]:
    """Start a store in a temporary home; stop it and remove the home at the end.

    Raises:
        NotWhole: it does not start.

    """
    home = _new_home()
    output = home / "output"
    if kind is Kind.STAGED:
        command = [sys.executable, "-m", "mkstore.chaos.proxied", str(home)]
    else:
        program = str(Path(sysconfig.get_path("scripts"), "mkstore"))
        command = [program, "up", "--home", str(home), "--ephemeral", "--port", "0"]
        command += ["--workers", "2"] if kind is Kind.DOUBLED else []
    own = {"RATE_LIMIT_ENABLED": "false", "FAILPOINTS": str(home / "failpoints"), "LOG_LEVEL": "WARNING"}
    inherited = {name: value for name, value in os.environ.items() if name not in {"NATS_URL", "DB_HOST", "JWT_SECRET"}}
    with output.open("wb") as file:
        process = subprocess.Popen(  # noqa: ASYNC220, S603 - it returns at once; the command is ours
            command,
            env=inherited | own,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:

        async def up() -> bool:
            if process.poll() is not None:
                raise NotWhole(f"the store did not start:\n{output.read_text()}")
            return (home / RUN_FILE).exists()

        if not await eventually(up, within=_START_SECONDS):
            raise NotWhole(f"the store did not start:\n{output.read_text()}")
        yield Store(process, home, output)
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, _STOP_SECONDS)
        finally:
            process.kill()
            shutil.rmtree(home, ignore_errors=True)
