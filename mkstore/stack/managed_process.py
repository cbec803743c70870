"""What every part that runs as a process can do: start, say whether it is ready, stop, clean up after a crash."""

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

MARK = "MKSTORE_PART"
"""The environment variable that a part and its children carry."""

_POLL = 0.02


class PartFailedError(Exception):
    """A part did not become ready; `log` is the tail of what it wrote."""

    def __init__(self, name: str, reason: str, log: str) -> None:
        super().__init__(f"{name} {reason}")
        self.name = name
        self.log = log


class ManagedProcess(ABC):
    """One process, with its children, under one name and at one address that it keeps through restarts.

    It can be used alone, as `with NatsServer(folder) as nats:`, or be handed to a supervisor.
    """

    stop_signal = signal.SIGTERM
    """Asks it to end in order."""
    death_signal = signal.SIGKILL
    """What Linux sends it when its starter dies."""
    stop_within = 10.0
    """Seconds that an orderly end may take."""
    nice = 0
    """Its nice value once it is ready: with a higher one, whatever is started later goes first."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.mark: str | None = None
        """The value of `MKSTORE_PART` in its environment, by which its processes are found after any crash."""

    @property
    @abstractmethod
    def address(self) -> str:
        """Where it listens, without any password: for people and logs."""

    @abstractmethod
    def launch(self) -> subprocess.Popen[bytes]:
        """Start its process and return at once."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether this very process, and not another at the address, does its work; takes at most 2 seconds."""

    def prepare(self) -> None:  # noqa: B027 - most parts need nothing
        """Do what must be done once before the first start; may take seconds, harmless to repeat."""

    def marked(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return `env` with the mark of this part, if it has one."""
        return dict(env) if self.mark is None else {**env, MARK: self.mark}

    def leftovers(self) -> Sequence[psutil.Process]:
        """Return the living processes that belong to it, whether or not its first process still lives."""
        return [] if self.process is None else processes.in_session(self.process.pid)

    @property
    def pid(self) -> int | None:
        """Its first process, or None when it does not run."""
        return self.process.pid if self.process is not None and self.is_running else None

    @property
    def is_running(self) -> bool:
        """Whether its first process lives."""
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        """Start it and return at once; what an earlier, dead process of it left behind is ended first.

        Raises:
            RuntimeError: it runs already.
            OSError: its program cannot be started.

        """
        if self.is_running:
            raise RuntimeError(f"{self.name} runs already")
        processes.kill_all(self.leftovers)
        self.process = self.launch()

    def start(self, within: float = 30.0) -> None:
        """Prepare it, start it, and return when it is ready.

        Raises:
            PartFailedError: it ended, or was not ready after `within` seconds; nothing of it runs then.

        """
        self.prepare()
        self.spawn()
        deadline = time.monotonic() + within
        while not self.is_ready():
            if not self.is_running or time.monotonic() > deadline:
                reason = f"was not ready after {within:g} s" if self.is_running else self.ending()
                self.kill()
                raise PartFailedError(self.name, reason, processes.tail(self.log))
            time.sleep(_POLL)

    def ask_to_stop(self) -> None:
        """Send the signal that ends it in order, and return at once."""
        if self.process is not None and self.is_running:
            self.process.send_signal(self.stop_signal)

    def stop(self, within: float | None = None) -> bool:
        """End it in order and wait; after `within` seconds (by default `stop_within`) kill it and return False."""
        self.ask_to_stop()
        in_time = True
        if self.process is not None:
            try:
                self.process.wait(self.stop_within if within is None else within)
            except subprocess.TimeoutExpired:
                in_time = False
        return self.kill() == 0 and in_time

    def kill(self) -> int:
        """End it and everything that belongs to it at once; return how many processes had to be killed."""
        killed = processes.kill_all(self.leftovers)
        if self.process is not None:
            self.process.wait()
        return killed

    def ending(self) -> str:
        """Say how its last process ended, as the end of a sentence that begins with its name."""
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
