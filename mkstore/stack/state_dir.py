"""The folder that one `mkstore up` works in: its lock, its secrets, and the file that says where everything is."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from mkstore.stack import processes

RUN_FILE = "run.json"
DEFAULT_HOME = Path(".mkstore")
_LOGINS = ("operator", "services", "gateway", "payments", "users")
_SECRETS = ("jwt_secret", "postgres", *(f"nats_{login}" for login in _LOGINS))
_CLEANING = 15.0


class HomeInUseError(Exception):
    """Another `mkstore up` works in this home."""

    def __init__(self, root: Path, pid: int | None) -> None:
        super().__init__(f"mkstore already runs in {root}" + (f" (pid {pid})" if pid else ""))


@dataclass(frozen=True)
class StateDir:
    """A locked home: `root` has secrets, logs and the run file, `data` what the servers keep (often the same folder).

    `lock` is the open file that holds the lock; an `ephemeral` home's data are removed at the end.
    """

    root: Path
    data: Path
    lock: int
    ephemeral: bool

    @property
    def run_file(self) -> Path:
        """Where the addresses and pids of a running mkstore stand."""
        return self.root / RUN_FILE

    def log(self, name: str) -> Path:
        """Return the log of a part."""
        return self.root / "logs" / f"{name}.log"

    def secrets(self) -> dict[str, str]:
        """Return the secrets of this home, made on the first call in its life and kept in a file of mode 0600."""
        file = self.root / "secrets.json"
        known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        missing = {name: secrets.token_urlsafe(32) for name in _SECRETS if name not in known}
        if missing:
            known |= missing
            write_private(file, known)
        return known


@contextlib.contextmanager
def opened(root: Path | None, *, ephemeral: bool) -> Iterator[StateDir]:
    """Lock a home and yield it; an ephemeral one keeps its data in a temporary folder that is removed at the end.

    Raises:
        HomeInUseError: another one works there. One that was killed and is still being cleaned up after is waited for.
        OSError: the folder cannot be used.

    """
    temporary = None
    if ephemeral:
        if root is not None:
            root.mkdir(parents=True, exist_ok=True, mode=0o711)
        temporary = Path(tempfile.mkdtemp(prefix="mkstore-", dir=root))
        # A server that runs as another user must pass through; it cannot list what is here.
        temporary.chmod(0o711)
    root = root or temporary or DEFAULT_HOME
    root.mkdir(parents=True, exist_ok=True, mode=0o711)
    try:
        lock = _locked(root)
        try:
            (root / "logs").mkdir(exist_ok=True, mode=0o700)
            yield StateDir(root.resolve(), (temporary or root).resolve(), lock, ephemeral)
        finally:
            os.close(lock)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_private(file: Path, content: object) -> None:
    """Write JSON to a file that only its owner may read, so that a reader sees the old or the new whole."""
    staging = file.with_name(f"{file.name}.new")
    staging.unlink(missing_ok=True)
    staging.touch(mode=0o600)
    staging.write_text(json.dumps(content, indent=2) + "\n")
    staging.replace(file)


def _locked(root: Path) -> int:
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _CLEANING
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _pid_in(lock)
            if holder is None or _runs(holder) or time.monotonic() > deadline:
                os.close(lock)
                raise HomeInUseError(root, holder) from None
            time.sleep(0.05)
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            return lock


def _runs(pid: int) -> bool:
    try:
        return processes.is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def _pid_in(lock: int) -> int | None:
    text = os.pread(lock, 20, 0)
    return int(text) if text.isdigit() else None
