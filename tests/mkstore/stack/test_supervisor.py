"""The supervisor, with shell commands as processes."""

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
    """A process that is ready once its script has printed `ready`."""

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


class Output:
    """The lines that the supervisor printed."""

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
def output() -> Output:
    return Output()


@pytest.fixture
def supervisor(output: Output) -> Supervisor:
    return Supervisor(output.say, output.changed, ready_timeout=2)


async def test_ended_process_is_restarted(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "echo ready; exec sleep 100")
    await supervisor.start(process)
    first = process.pid
    assert process.process is not None
    process.process.kill()
    await output.wait_for("clerk is ready again: shell://clerk")
    assert output.lines == [
        "clerk is ready: shell://clerk",
        "clerk was killed by SIGKILL; it is restarted",
        "clerk is ready again: shell://clerk",
    ]
    assert process.pid not in {None, first}
    assert output.changes == 2
    await supervisor.stop(process)


async def test_error_of_a_restart_does_not_end_supervision(
    supervisor: Supervisor, output: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = Shell("clerk", tmp_path, "echo ready; exec sleep 100")
    await supervisor.start(process)
    assert process.process is not None
    launch, errors = process.launch, [ValueError("the roles have changed")]

    def fail_once() -> subprocess.Popen[bytes]:
        if errors:
            raise errors.pop()
        return launch()

    monkeypatch.setattr(process, "launch", fail_once)
    process.process.kill()
    await output.wait_for("clerk is ready again: shell://clerk")
    assert "clerk cannot be started: ValueError('the roles have changed'); it is restarted in 0.5 s" in output.lines
    await supervisor.stop(process)


async def test_process_that_can_work_only_after_a_restart_is_restarted(
    supervisor: Supervisor, output: Output, tmp_path: Path
) -> None:
    class Stuck(Shell):
        def is_stuck(self) -> bool:
            return (tmp_path / "stuck").exists()

        def launch(self) -> subprocess.Popen[bytes]:
            (tmp_path / "stuck").unlink(missing_ok=True)
            return super().launch()

    process = Stuck("disk", tmp_path, "echo ready; sleep 60")
    await supervisor.start(process)
    first = process.pid
    (tmp_path / "stuck").touch()
    await output.wait_for("disk is ready again: shell://disk")
    assert process.pid != first
    assert "disk does not work any more and is killed" in output.lines
    await supervisor.stop(process)


async def test_restart_delays_grow(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "echo ready; exec sleep 0.2")
    await supervisor.start(process)
    await output.wait_for("clerk ended with exit code 0; it is restarted")
    await output.wait_for("clerk ended with exit code 0; it is restarted in 0.5 s")
    await output.wait_for("clerk ended with exit code 0; it is restarted in 1 s")
    await supervisor.stop(process)
    assert sorted(RESTART_DELAYS) == list(RESTART_DELAYS)


async def test_orphans_are_killed_before_a_restart(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "sleep 100 & echo ready; wait")
    await supervisor.start(process)
    assert process.process is not None
    (orphan,) = psutil.Process(process.process.pid).children()
    process.process.kill()
    await output.wait_for("clerk is ready again: shell://clerk")
    assert not processes.is_alive(orphan)
    await supervisor.stop(process)
    assert process.leftovers() == []


def autogroup_niceness(pid: int | None) -> int | None:
    """Return the nice value of the session, which some Linux systems use first; None on others."""
    file = Path(f"/proc/{pid}/autogroup")
    return int(file.read_text().split()[-1]) if file.exists() else None


async def test_priority_is_lowered_once_ready_and_normal_at_restart(
    supervisor: Supervisor, output: Output, tmp_path: Path
) -> None:
    def niceness() -> set[int]:
        return {each.nice() for each in process.leftovers()}

    async def gives_way() -> bool:
        return niceness() == {lowered}

    own = os.getpriority(os.PRIO_PROCESS, 0)
    lowered = max(own, Shell.niceness)
    process = Shell("clerk", tmp_path, "nice; sleep 100 & echo ready; wait")
    await supervisor.start(process)
    await eventually(gives_way)
    assert autogroup_niceness(process.pid) in {lowered, None}
    assert process.process is not None
    process.process.kill()
    await output.wait_for("clerk is ready again: shell://clerk")
    assert processes.tail(process.log).splitlines()[0] == str(own)
    await supervisor.stop(process)


async def test_process_that_never_starts_fails_with_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "echo the ink is dry; exit 3")
    with pytest.raises(ProcessFailed, match="clerk ended with exit code 3") as failure:
        await supervisor.start(process)
    assert failure.value.log == "the ink is dry"


async def test_process_that_is_not_ready_in_time_is_killed(output: Output, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "exec sleep 100")
    with pytest.raises(ProcessFailed, match=r"clerk was not ready after 0\.1 s"):
        await Supervisor(output.say, output.changed, ready_timeout=0.1).start(process)
    assert process.leftovers() == []


async def test_missing_program_fails_with_a_message(supervisor: Supervisor, tmp_path: Path) -> None:
    class Missing(Shell):
        def launch(self) -> subprocess.Popen[bytes]:
            return processes.spawn(["/no/such/program"], env={}, log=self.log, cwd=tmp_path)

    with pytest.raises(ProcessFailed, match=r"cannot be started: .*No such file"):
        await supervisor.start(Missing("clerk", tmp_path, ""))


async def test_process_that_does_not_stop_is_killed(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    await supervisor.start(process)
    await supervisor.stop(process)
    assert output.lines[-1] == "clerk did not stop within 2 s and is killed"
    assert process.leftovers() == []


async def test_hurried_stop_takes_one_second(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "trap '' TERM; echo ready; while :; do sleep 0.1; done")
    await supervisor.start(process)
    supervisor.hurry()
    await supervisor.stop(process)
    assert output.lines[-1] == "clerk did not stop within 1 s and is killed"


async def test_stopped_process_is_not_restarted(supervisor: Supervisor, output: Output, tmp_path: Path) -> None:
    process = Shell("clerk", tmp_path, "echo ready; exec sleep 100")
    await supervisor.start(process)
    await supervisor.stop(process)
    assert process.pid is None
    assert output.lines == ["clerk is ready: shell://clerk"]
