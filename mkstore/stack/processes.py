"""Child processes that end with their parent, and finding what a dead one left behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    log: Path,
    cwd: Path,
    user: int | None = None,
    group: int | None = None,
    death_signal: signal.Signals | None = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, with its output appended to `log`.

    On Linux it gets `death_signal` when the thread that calls this ends, so call it from one that lives as long as the
    child should. `user` and `group` are ids to run as, without any other group; only root may name them.

    Raises:
        OSError: the program, the folder or the log cannot be used.

    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - the commands are ours
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=group,
            extra_groups=None if user is None else [],
            preexec_fn=_dies_with_parent(death_signal),  # noqa: PLW1509 - one system call, no lock and no import
        )


def in_session(session: int) -> list[psutil.Process]:
    """Return the living processes of a session, other than the calling one."""

    def belongs(process: psutil.Process) -> bool:
        return os.getsid(process.pid) == session

    return _matching(belongs)


def working_in(folder: Path, name: str) -> list[psutil.Process]:
    """Return the living processes called `name` whose working folder is `folder`."""
    wanted = os.path.realpath(folder)

    def belongs(process: psutil.Process) -> bool:
        return process.name() == name and process.cwd() == wanted

    return _matching(belongs)


def with_variable(name: str) -> list[tuple[psutil.Process, str]]:
    """Return the living processes that were started with the environment variable `name`, and its value in each."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(name)
            if value is not None and process.pid != os.getpid() and is_alive(process):
                found.append((process, value))
    return found


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process still runs; one that ended and was not yet collected does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def kill_all(find: Callable[[], Sequence[psutil.Process]], within: float = 5.0) -> int:
    """Kill what `find` returns until it returns nothing, at most `within` seconds; return how many were killed."""
    killed: set[int] = set()
    for _ in _until(within):
        processes = find()
        if not processes:
            break
        for process in processes:
            killed.add(process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()
    return len(killed)


def give_way(found: Sequence[psutil.Process], nice: int) -> None:
    """Lower the priority of processes for good, to a nice value; one that is gone or that low already is let be.

    On Linux threads have a priority each, and the session's counts first where there is no control group (autogroup).
    """
    for process in found:
        with contextlib.suppress(psutil.Error, OSError):
            if process.nice() >= nice:
                continue
            process.nice(nice)
            if sys.platform == "linux":
                for thread in process.threads():
                    os.setpriority(os.PRIO_PROCESS, thread.id, nice)
                Path(f"/proc/{process.pid}/autogroup").write_text(str(nice))


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or a sentence that says why there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 64_000))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"(no log: {error.strerror})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def _matching(belongs: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if belongs(process) and process.pid != os.getpid() and is_alive(process):
                found.append(process)
    return found


def _until(within: float, pause: float = 0.02) -> Iterator[None]:
    deadline = time.monotonic() + within
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(pause)


def _dies_with_parent(death_signal: signal.Signals | None) -> Callable[[], None] | None:
    if death_signal is None or _libc is None:
        return None
    parent, libc = os.getpid(), _libc

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            # The parent ended before the request was made: nobody would send the signal any more.
            os._exit(1)

    return before_exec
