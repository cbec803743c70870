"""Ends every managed process when the launcher was killed; the only process that outlives it, until that is done.

Linux signals the direct children itself (see `processes.spawn`), but not their workers; other systems signal none.
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
_SERVERS_STOP_TIMEOUT = 8.0
_POLL_INTERVAL = 0.05
_REMOVE = "remove"


def mark(name: str, root: Path) -> str:
    """Return the mark of a process of the state folder `root`, see `ManagedProcess.mark`."""
    return f"{name}@{root}"


def end_leftovers(root: Path, data: Path) -> None:
    """End every process of a state folder: kill services, stop servers gracefully and kill them after 8 s."""

    def marked() -> dict[psutil.Process, str]:
        marks = ((process, value.partition("@")) for process, value in processes.with_variable(MARK))
        return {process: name for process, (name, _, folder) in marks if folder == str(root)}

    def services() -> list[psutil.Process]:
        return [process for process, name in marked().items() if _kind(name) not in _SERVERS]

    def anything() -> list[psutil.Process]:
        # The children of PostgreSQL overwrite their environment with their titles.
        folders = data.glob("postgres*/data")
        return [*marked(), *(each for folder in folders for each in processes.working_in(folder, "postgres"))]

    processes.kill_all(services)
    deadline = time.monotonic() + _SERVERS_STOP_TIMEOUT
    for process, name in marked().items():
        if (kind := _kind(name)) not in _SERVERS:
            continue
        with contextlib.suppress(psutil.Error):
            process.send_signal(_SERVERS[kind])
    while time.monotonic() < deadline and anything():
        time.sleep(_POLL_INTERVAL)
    processes.kill_all(anything)


def _kind(name: str) -> str:
    """Return what a process is: `nats` for the node `nats-1` of a cluster."""
    return name.partition("-")[0]


class Reaper(ManagedProcess):
    """The reaper as a managed process; it listens nowhere and holds the lock of the state folder too."""

    stop_timeout = 2.0

    def __init__(self, state: StateDir) -> None:
        super().__init__("reaper", state.log("reaper"))
        self._state = state

    @property
    def address(self) -> str:
        """Empty: it does not listen."""
        return ""

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it with a pipe that closes when the launcher ends."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        action = _REMOVE if self._state.ephemeral else "keep"
        with self.log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - the command is ours
                [sys.executable, "-m", "mkstore.stack.reaper", str(self._state.root), str(self._state.data), action],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[self._state.lock],
            )

    def is_ready(self) -> bool:
        """Return whether it runs; it needs no other preparation."""
        return self.is_running

    def kill(self) -> int:
        """Kill it and close its pipe."""
        killed = super().kill()
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
        return killed


def main() -> None:
    """Wait until the launcher has ended, then end its processes and remove its run file and temporary data."""
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
