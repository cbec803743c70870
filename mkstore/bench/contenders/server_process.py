"""A process of a contender: started and stopped like those of `mkstore up`."""

import http.client
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from mkstore.stack import ports, processes
from mkstore.stack.local_stack import NICENESS
from mkstore.stack.managed_process import ManagedProcess

_PROBE_TIMEOUT = 2.0
START_TIMEOUT = 60.0
"""Seconds until a process must be ready."""


class ServerProcess(ManagedProcess):
    """A process that is ready when `GET /health` on `port` of the loopback answers 200; without a port, at once.

    When ready it gets the nice value of a ready service of `mkstore up`, so that all contenders have the same.
    """

    niceness = NICENESS

    def __init__(
        self, name: str, argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path, port: int | None = None
    ) -> None:
        super().__init__(name, log)
        self._argv = argv
        self._cwd = cwd
        self._env = env
        self._port = port

    @property
    def address(self) -> str:
        """Its address."""
        return f"http://{ports.LOOPBACK}:{self._port}" if self._port else ""

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it."""
        return processes.spawn(self._argv, env=self.marked(self._env), log=self.log, cwd=self._cwd)

    def is_ready(self) -> bool:
        """Return whether it runs and answers."""
        if self._port is None:
            return self.is_running
        connection = http.client.HTTPConnection(ports.LOOPBACK, self._port, timeout=_PROBE_TIMEOUT)
        try:
            connection.request("GET", "/health", headers={"Connection": "close"})
            return self.is_running and connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def start(self, timeout: float = START_TIMEOUT) -> None:
        """Start it and lower its priority once it is ready. Raises `ProcessFailed`."""
        super().start(timeout)
        processes.lower_priority(self.leftovers(), self.niceness)
