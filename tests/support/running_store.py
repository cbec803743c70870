"""Run `mkstore up` as a process, with its output and run file, and check that it leaves no process behind."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from mkstore.chaos.store import Store
from mkstore.stack import processes
from mkstore.stack.managed_process import MARK
from tests.support.equal_priority_store import PROGRAM
from tests.support.logged_secrets import logged_secrets

MKSTORE = str(Path(sys.executable).with_name("mkstore"))
Result = TypeVar("Result")


def eventually(condition: Callable[[], Result], *, timeout: float = 60.0, describe: Callable[[], str] = str) -> Result:
    """Return the first true result of `condition`; fail after `timeout` seconds with the text of `describe`."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true after {timeout:g} s: {describe()}"
        time.sleep(0.02)
    return result


@dataclass(kw_only=True)
class Running(Store):
    """A started `mkstore up`; it can be stopped and started again."""

    command: Sequence[str]
    env: Mapping[str, str]
    popen: Mapping[str, Any]
    process: subprocess.Popen[bytes] = field(init=False)
    starts: int = 0
    seen: set[psutil.Process] = field(default_factory=set)

    @property
    def text(self) -> str:
        """Output so far."""
        return self.output.read_text()

    def start(self) -> None:
        """Start it and return at once."""
        self.starts += 1
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                self.command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.popen,
            )

    def wait_for(self, text: str, *, times: int = 1, timeout: float = 60.0) -> None:
        """Return once it has printed `text` this number of times; fail if it ends before that."""

        def printed() -> bool:
            if self.text.count(text) >= times:
                return True
            assert self.process.poll() is None, f"mkstore ended with {self.process.returncode}:\n{self.text}"
            return False

        eventually(printed, timeout=timeout, describe=lambda: f"{text!r} in\n{self.text}")

    def wait_until_ready(self, *, timeout: float = 90.0) -> None:
        """Return once it has printed that it is ready and where its run file is."""
        self.wait_for("run.json", times=self.starts, timeout=timeout)
        address = re.search(r"(/\S+)/run\.json", self.text)
        assert address
        self.home = Path(address[1])
        self.look_around()

    def look_around(self) -> set[psutil.Process]:
        """Return its living processes, and remember them for `wait_until_nothing_is_left`."""
        self.seen |= set(psutil.Process(self.process.pid).children(recursive=True))
        self.seen |= {process for process, mark in processes.with_variable(MARK) if mark.endswith(f"@{self.home}")}
        return {process for process in self.seen if processes.is_alive(process)}

    def refused(self) -> list[str]:
        """Return the permission violations in the log of NATS.

        A reply whose requester has disconnected also causes one; those are left out.
        """
        lines = [line for log in (self.home / "logs").glob("nats*.log") for line in log.read_text().splitlines()]
        replies = ('Subject "_INBOX.', 'Subject "_R_.')
        return [line for line in lines if "Violation" in line and not any(each in line for each in replies)]

    def logged_secrets(self) -> list[str]:
        """Return the lines of its output and of its logs that have a secret, or the email of a user."""
        secrets = json.loads((self.home / "secrets.json").read_text()) if (self.home / "secrets.json").exists() else {}
        texts = [self.text, *(log.read_text(errors="replace") for log in (self.home / "logs").glob("*.log"))]
        return [line for text in texts for line in logged_secrets(text, secrets.values())]

    def kill(self, name: str) -> None:
        """Kill one process with SIGKILL."""
        self.send(name, signal.SIGKILL)

    @contextmanager
    def hung(self, name: str) -> Iterator[None]:
        """Pause a process with SIGSTOP until the end of the block, like a hanging disk."""
        self.send(name, signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(name, signal.SIGCONT)

    def stop(self) -> None:
        """Stop it with SIGTERM; fail unless it ends with exit code 0 and leaves no process.

        NATS must have logged no permission violation, and no part a secret.
        """
        assert not self.refused(), "\n".join(self.refused())
        assert not self.logged_secrets(), "\n".join(self.logged_secrets())
        self.look_around()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.text
        self.wait_until_nothing_is_left()

    def wait_until_nothing_is_left(self, *, timeout: float = 60.0) -> None:
        """Return once none of its processes lives."""

        def nothing() -> bool:
            return not any(map(processes.is_alive, self.seen)) and not [
                mark for _, mark in processes.with_variable(MARK) if mark.endswith(f"@{self.home}")
            ]

        eventually(nothing, timeout=timeout, describe=lambda: str([p for p in self.seen if processes.is_alive(p)]))


@contextmanager
def running(
    *options: str,
    command: Sequence[str] = PROGRAM,
    env: Mapping[str, str] | None = None,
    wait: bool = True,
    **popen: Any,
) -> Iterator[Running]:
    """Run `mkstore up` with `options`, wait until it is ready, and stop it at the end; without traces unless `env` has.

    Asserts what `Running.stop` does, unless the test ended it by other means.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in {"NATS_URL", "DB_HOST", "JWT_SECRET"}}
    with tempfile.TemporaryDirectory() as folder:
        mkstore = Running(
            home=Path(),
            output=Path(folder) / "output",
            command=[*command, *options],
            env={**inherited, "OTEL_SDK_DISABLED": "true", **(env or {})},
            popen=popen,
        )
        mkstore.start()
        try:
            if wait:
                mkstore.wait_until_ready()
            yield mkstore
            if mkstore.process.poll() is None:
                mkstore.stop()
        finally:
            if mkstore.process.poll() is None:
                # A test failed: end it at once. Its reaper ends the rest.
                mkstore.process.kill()
                mkstore.process.wait()
