"""The base class of every process that `mkstore up` runs: start, readiness, stop, and cleanup after a crash."""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from mkstore.stack import processes

MARK = "MKSTORE_PROCESS"
"""The environment variable that a managed process and its children carry."""

_POLL_INTERVAL = 0.02


class ProcessFailed(Exception):
    """A process did not become ready; `log` is the end of its log."""

    def __init__(self, name: str, reason: str, log: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name = name
        self.log = log


class ManagedProcess(ABC):
    """A process and its children, with a name, and an address that stays the same through restarts.

    Use it alone, as `with NatsServer(folder) as nats:`, or pass it to a `Supervisor`.
    """

    stop_signal = signal.SIGTERM
    """Asks it to stop gracefully."""
    death_signal = signal.SIGKILL
    """Linux sends it when the parent dies."""
    stop_timeout = 10.0
    """Seconds for a graceful stop."""
    niceness = 0
    """Nice value once it is ready; processes that start later then have priority."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.mark: str | None = None
        """Value of `MKSTORE_PROCESS` in its environment, by which its processes are found after a crash."""

    @property
    @abstractmethod
    def address(self) -> str:
        """The address without a password, for people and logs."""

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Start its process and return at once."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Return whether this process (not another one at the address) is ready; takes at most 2 seconds."""

    def is_stuck(self) -> bool:
        """Return whether it runs, but works only after a restart; takes at most 2 seconds."""
        return False

    def prepare(self) -> None:  # noqa: B027 - most processes need no preparation
        """Prepare the first start; may take seconds, and may be repeated."""

    def marked(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return `env` with the mark of this process, if it has one."""
        return dict(env) if self.mark is None else {**env, MARK: self.mark}

    def leftovers(self) -> Sequence[psutil.Process]:
        """Return every living process that belongs to it, even after its first process has ended."""
        return [] if self.process is None else processes.in_session(self.process.pid)

    @property
    def pid(self) -> int | None:
        """Pid of its first process; None while it does not run."""
        return self.process.pid if self.process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        """End what a dead process of it left behind, start it, and return at once.

        Raises `RuntimeError` if it is running, `OSError` if its program cannot be started.
        """
        if self.is_running:
            raise RuntimeError(f"{self.name} is already running")
        processes.kill_all(self.leftovers)
        self.process = self.launch()

    def start(self, timeout: float = 30.0) -> None:
        """Prepare and start it; return when it is ready.

        Raises `ProcessFailed` if it ends, or is not ready after `timeout` seconds; it is then killed.
        """
        self.prepare()
        self.spawn()
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if not self.is_running or time.monotonic() > deadline:
                reason = f"was not ready after {timeout:g} s" if self.is_running else self.ending()
                self.kill()
                raise ProcessFailed(self.name, reason, processes.tail(self.log))
            time.sleep(_POLL_INTERVAL)

    def request_stop(self) -> None:
        """Send the signal for a graceful stop and return at once."""
        if self.process is not None and self.is_running:
            self.process.send_signal(self.stop_signal)

    def stop(self, timeout: float | None = None) -> bool:
        """Stop it gracefully and wait; kill it after `timeout` seconds (default: `stop_timeout`) and return False."""
        self.request_stop()
        in_time = True
        if self.process is not None:
            try:
                self.process.wait(self.stop_timeout if timeout is None else timeout)
            except subprocess.TimeoutExpired:
                in_time = False
        return self.kill() == 0 and in_time

    def kill(self) -> int:
        """Kill it and everything that belongs to it; return the number of killed processes."""
        killed = processes.kill_all(self.leftovers)
        if self.process is not None:
            self.process.wait()
        return killed

    def ending(self) -> str:
        """Return how its last process ended, as the predicate of a sentence."""
        code = None if self.process is None else self.process.poll()
        if code is None:
            return "was stopped"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()
