"""Child processes that end with their parent, and the search for what a dead one left behind."""

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

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""Processor cores that this process may use."""

_LOG_TAIL_BYTES = 64_000
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
    """Start `command` in a new session, with its output appended to `log`.

    On Linux it gets `death_signal` when the calling thread ends, so call this from a thread that lives as long as the
    child should. `user` and `group` are ids to run as, without supplementary groups; only root may set them.

    Raises `OSError` if the program, the folder or the log cannot be used.
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
            preexec_fn=_dies_with_parent(death_signal),  # noqa: PLW1509 - one system call, no lock, no import
        )


def in_session(session: int) -> list[psutil.Process]:
    """Return the living processes of a session, other than the calling one."""

    def belongs(process: psutil.Process) -> bool:
        return os.getsid(process.pid) == session

    return _matching(belongs)


def working_in(folder: Path, name: str) -> list[psutil.Process]:
    """Return the living processes with this name whose working folder is `folder`."""
    wanted = os.path.realpath(folder)

    def belongs(process: psutil.Process) -> bool:
        return process.name() == name and process.cwd() == wanted

    return _matching(belongs)


def with_variable(name: str) -> list[tuple[psutil.Process, str]]:
    """Return the living processes whose environment has the variable `name`, each with its value."""
    marked = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(name)
            if value is not None and process.pid != os.getpid() and is_alive(process):
                marked.append((process, value))
    return marked


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def runs(pid: int) -> bool:
    """Return whether the process with this id runs; a zombie does not."""
    try:
        return is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def kill_all(find: Callable[[], Sequence[psutil.Process]], timeout: float = 5.0) -> int:
    """Kill what `find` returns until it returns nothing, for at most `timeout` seconds; return the number of kills."""
    killed: set[int] = set()
    for _ in _until(timeout):
        processes = find()
        if not processes:
            break
        for process in processes:
            killed.add(process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()
    return len(killed)


def lower_priority(of: Sequence[psutil.Process], niceness: int) -> None:
    """Raise the nice value of processes to `niceness`; skip those that have ended or already have a higher one.

    On Linux each thread has a nice value, and without control groups that of the session counts first (autogroup).
    """
    for process in of:
        with contextlib.suppress(psutil.Error, OSError):
            if process.nice() >= niceness:
                continue
            process.nice(niceness)
            if sys.platform == "linux":
                for thread in process.threads():
                    os.setpriority(os.PRIO_PROCESS, thread.id, niceness)
                Path(f"/proc/{process.pid}/autogroup").write_text(str(niceness))


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or a note in brackets if there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f"(no log: {error.strerror})"
    return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"


def _matching(belongs: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    matching = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if belongs(process) and process.pid != os.getpid() and is_alive(process):
                matching.append(process)
    return matching


def _until(timeout: float, interval: float = 0.02) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(interval)


def _dies_with_parent(death_signal: signal.Signals | None) -> Callable[[], None] | None:
    if death_signal is None or _libc is None:
        return None
    parent, libc = os.getpid(), _libc

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            # The parent ended before prctl: the signal would never be sent.
            os._exit(1)

    return before_exec
