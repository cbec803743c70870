"""Keeping parts running, tried on parts that are a shell command."""

import asyncio
import os
import subprocess
from pathlib import Path

import psutil
import pytest

from mkstore.stack import processes
from mkstore.stack.managed_process import ManagedProcess, ProcessFailed
from mkstore.stack.supervisor import RESTART_DELAYS, Supervisor
from tests.support.polling import eventually


class Shell(ManagedProcess):
    """A part that is ready once its script says so in its log."""

    stop_timeout = 2.0
    niceness = 4

    def __init__(self, name: str, folder: Path, script: str) -> None:
        super().__init__(name, folder / f"{name}.log")
        self._script = script

    @property
    def address(self) -> str:
        return f"shell://{self.name}"

    def launch(self) -> subprocess.Popen[bytes]:
        self.log.unlink(missing_ok=True)
        return processes.spawn(["/bin/sh", "-c", self._script], env=dict(os.environ), log=self.log, cwd=self.log.parent)

    def is_ready(self) -> bool:
        return self.is_running and "ready" in processes.tail(self.log)


class Said:
    """What the supervisor said, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.changes = 0

    def say(self, line: str) -> None:
        self.lines.append(line)

    def changed(self) -> None:
        self.changes += 1

    async def wait_for(self, line: str, *, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.lines.count(line) < times:  # noqa: ASYNC110 - a list sets no event
                await asyncio.sleep(0.01)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def supervisor(said: Said) -> Supervisor:
    return Supervisor(said.say, said.changed, ready_timeout=2)


async def test_ended_process_is_restarted(supervisor: Supervisor, said: Said, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "echo ready; exec sleep 100")
    await supervisor.start(part)
    first = part.pid
    assert part.process is not None
    part.process.kill()
    await said.wait_for("clerk is ready again: shell://clerk")
    assert said.lines == [
        "clerk is ready: shell://clerk",
        "clerk was killed by SIGKILL; it is restarted",
        "clerk is ready again: shell://clerk",
    ]
    assert part.pid not in {None, first}
    assert said.changes == 2
    await supervisor.stop(part)


async def test_restart_delays_grow(supervisor: Supervisor, said: Said, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "echo ready; exec sleep 0.2")
    await supervisor.start(part)
    await said.wait_for("clerk ended with exit code 0; it is restarted")
    await said.wait_for("clerk ended with exit code 0; it is restarted in 0.5 s")
    await said.wait_for("clerk ended with exit code 0; it is restarted in 1 s")
    await supervisor.stop(part)
    assert sorted(RESTART_DELAYS) == list(RESTART_DELAYS)


async def test_orphans_are_killed_before_a_restart(supervisor: Supervisor, said: Said, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "sleep 100 & echo ready; wait")
    await supervisor.start(part)
    assert part.process is not None
    (orphan,) = psutil.Process(part.process.pid).children()
    part.process.kill()
    await said.wait_for("clerk is ready again: shell://clerk")
    assert not processes.is_alive(orphan)
    await supervisor.stop(part)
    assert part.leftovers() == []


def autogroup_niceness(pid: int | None) -> int | None:
    """Return what counts before a process's own niceness on some Linux systems; None on others."""
    file = Path(f"/proc/{pid}/autogroup")
    return int(file.read_text().split()[-1]) if file.exists() else None


async def test_priority_is_lowered_once_ready_and_normal_at_restart(
    supervisor: Supervisor, said: Said, tmp_path: Path
) -> None:
    def niceness() -> set[int]:
        return {process.nice() for process in part.leftovers()}

    async def gives_way() -> bool:
        return niceness() == {lowered}

    own = os.getpriority(os.PRIO_PROCESS, 0)
    lowered = max(own, Shell.niceness)
    part = Shell("clerk", tmp_path, "nice; sleep 100 & echo ready; wait")
    await supervisor.start(part)
    await eventually(gives_way)
    assert autogroup_niceness(part.pid) in {lowered, None}
    assert part.process is not None
    part.process.kill()
    await said.wait_for("clerk is ready again: shell://clerk")
    assert processes.tail(part.log).splitlines()[0] == str(own)
    await supervisor.stop(part)


async def test_process_that_never_starts_fails_with_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "echo the ink is dry; exit 3")
    with pytest.raises(ProcessFailed, match="clerk ended with exit code 3") as failure:
        await supervisor.start(part)
    assert failure.value.log == "the ink is dry"


async def test_process_that_is_not_ready_in_time_is_killed(said: Said, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "exec sleep 100")
    with pytest.raises(ProcessFailed, match=r"clerk was not ready after 0\.1 s"):
        await Supervisor(said.say, said.changed, ready_timeout=0.1).start(part)
    assert part.leftovers() == []


async def test_missing_program_fails_with_a_message(supervisor: Supervisor, tmp_path: Path) -> None:
    class Missing(Shell):
        def launch(self) -> subprocess.Popen[bytes]:
            return processes.spawn(["/no/such/program"], env={}, log=self.log, cwd=tmp_path)

    with pytest.raises(ProcessFailed, match=r"cannot be started: .*No such file"):
        await supervisor.start(Missing("clerk", tmp_path, ""))


async def test_process_that_does_not_stop_is_killed(supervisor: Supervisor, said: Said, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    await supervisor.start(part)
    await supervisor.stop(part)
    assert said.lines[-1] == "clerk did not stop within 2 s and is killed"
    assert part.leftovers() == []


async def test_hurried_stop_takes_one_second(supervisor: Supervisor, said: Said, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    await supervisor.start(part)
    supervisor.hurry()
    await supervisor.stop(part)
    assert said.lines[-1] == "clerk did not stop within 1 s and is killed"


async def test_stopped_process_is_not_restarted(supervisor: Supervisor, said: Said, tmp_path: Path) -> None:
    part = Shell("clerk", tmp_path, "echo ready; exec sleep 100")
    await supervisor.start(part)
    await supervisor.stop(part)
    assert part.pid is None
    assert said.lines == ["clerk is ready: shell://clerk"]
