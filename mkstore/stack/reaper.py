"""Ends every part when the launcher was killed: the one process that outlives it, for as long as that takes.

Linux tells the parts themselves (see `processes.spawn`), but neither their workers nor any other system does.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from mkstore.stack import processes
from mkstore.stack.managed_process import MARK, ManagedProcess
from mkstore.stack.state_dir import RUN_FILE, StateDir

_SERVERS = {"nats": signal.SIGTERM, "postgres": signal.SIGINT}
_SERVERS_WITHIN = 8.0
_REMOVE = "remove"


def mark(name: str, root: Path) -> str:
    """Return what a part of the home `root` carries in its environment."""
    return f"{name}@{root}"


def end_leftovers(root: Path, data: Path) -> None:
    """End every process of the home: services at once, servers in order if they do it in time."""

    def marked() -> dict[psutil.Process, str]:
        found = ((process, value.partition("@")) for process, value in processes.with_variable(MARK))
        return {process: name for process, (name, _, home) in found if home == str(root)}

    def services() -> list[psutil.Process]:
        return [process for process, name in marked().items() if name not in _SERVERS]

    def anything() -> list[psutil.Process]:
        # The children of PostgreSQL write their titles over their environment.
        return [*marked(), *processes.working_in(data / "postgres" / "data", "postgres")]

    processes.kill_all(services)
    deadline = time.monotonic() + _SERVERS_WITHIN
    for process, name in marked().items():
        if name not in _SERVERS:
            continue
        with contextlib.suppress(psutil.Error):
            process.send_signal(_SERVERS[name])
    while time.monotonic() < deadline and anything():
        time.sleep(0.05)
    processes.kill_all(anything)


class Reaper(ManagedProcess):
    """The guardian as the launcher sees it: a part that listens nowhere and holds the lock of the home as well."""

    stop_within = 2.0

    def __init__(self, home: StateDir) -> None:
        super().__init__("guardian", home.log("guardian"))
        self._home = home

    @property
    def address(self) -> str:
        """Nowhere."""
        return ""

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it with a pipe that ends when the launcher does."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        fate = _REMOVE if self._home.ephemeral else "keep"
        with self.log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-m", "mkstore.stack.reaper", str(self._home.root), str(self._home.data), fate],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._home.lock],
            )

    def is_ready(self) -> bool:
        """Tell whether it runs: the pipe waits for it."""
        return self.is_running

    def kill(self) -> int:
        """End it at once, and the pipe with it."""
        killed = super().kill()
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        return killed


def main() -> None:
    """Wait until the launcher is gone, then end what it left and remove what it would have removed."""
    root, data = (Path(argument) for argument in sys.argv[1:3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while os.read(0, 1024):
        pass
    end_leftovers(root, data)
    (root / RUN_FILE).unlink(missing_ok=True)
    if sys.argv[3] == _REMOVE:
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    main()
