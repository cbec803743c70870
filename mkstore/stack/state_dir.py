"""The state folder of one `mkstore up`: its lock, secrets, logs and run file."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mkstore.stack import processes

RUN_FILE = "run.json"
ENVIRONMENTS_FILE = "environments.json"
DEFAULT_STATE_DIR = Path(".mkstore")
_SECRETS = ("jwt_secret", "postgres", "nats_operator", "nats_services", "nats_routes")
_CLEANUP_TIMEOUT = 15.0
"""Seconds to wait for the reaper of a killed launcher, which still holds the lock."""
_LOCK_INTERVAL = 0.05


class StateDirInUse(Exception):
    """Another `mkstore up` runs in this state folder."""

    def __init__(self, root: Path, pid: int | None) -> None:
        super().__init__(
            f"mkstore already runs in {root}" + (f" (pid {pid})" if pid else "") + "; stop it, or use another --home"
        )


class DamagedSecrets(Exception):
    """The file with the secrets cannot be read, or is missing although there are data; the message has the repair."""

    def __init__(self, file: Path, fault: str) -> None:
        super().__init__(
            f"{file} {fault}: restore it from a backup. Without it the data of this folder cannot be opened; to start "
            "anew, use another --home"
        )


@dataclass(frozen=True)
class StateDir:
    """A locked state folder: `root` has secrets, logs and the run file; `data`, often the same folder, the databases.

    `lock` is the open file that holds the lock. The data of an `ephemeral` one are removed at the end.
    """

    root: Path
    data: Path
    lock: int
    ephemeral: bool

    @property
    def run_file(self) -> Path:
        """The file with the addresses and pids of a running mkstore."""
        return self.root / RUN_FILE

    @property
    def environments_file(self) -> Path:
        """The file with the variables of each service of a running mkstore."""
        return self.root / ENVIRONMENTS_FILE

    def log(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.root / "logs" / f"{name}.log"

    def secrets(self, logins: Sequence[str], roles: Sequence[str] = ()) -> dict[str, str]:
        """Return the secrets by name, among them `nats_NAME` for each of `logins`, and `postgres_NAME` of `roles`.

        Missing ones are generated, and kept in a file with mode 0600. Raises `DamagedSecrets` if that file is damaged,
        or is missing although PostgreSQL has data, which it opens with a password of that file.
        """
        file = self.root / "secrets.json"
        known = self._known_secrets(file)
        names = (*_SECRETS, *(f"nats_{login}" for login in logins), *(f"postgres_{role}" for role in roles))
        missing = {name: secrets.token_urlsafe(32) for name in names if name not in known}
        if missing:
            known |= missing
            write_private(file, known)
        return known

    def _known_secrets(self, file: Path) -> dict[str, str]:
        try:
            known = json.loads(file.read_text())
        except FileNotFoundError:
            if any(self.data.glob("postgres*/data")):
                raise DamagedSecrets(file, "is missing") from None
            return {}
        except ValueError:
            raise DamagedSecrets(file, "is damaged") from None
        if not isinstance(known, dict):
            raise DamagedSecrets(file, "is damaged")
        return known


@contextlib.contextmanager
def open_state_dir(root: Path | None, *, ephemeral: bool) -> Iterator[StateDir]:
    """Lock a state folder and yield it; the data of an ephemeral one are in a temporary folder, removed at the end.

    What this process and its children write meanwhile is readable by their own user only (umask 077).
    Waits up to 15 s while the processes of a killed launcher are being ended. Raises `StateDirInUse` if another
    launcher runs there, `OSError` if the folder cannot be used.
    """
    temporary = None
    if ephemeral:
        if root is not None:
            root.mkdir(parents=True, exist_ok=True, mode=0o711)
        temporary = Path(tempfile.mkdtemp(prefix="mkstore-", dir=root))
        # PostgreSQL may run as another user, which must be able to traverse the folder, but not to list it.
        temporary.chmod(0o711)
    root = root or temporary or DEFAULT_STATE_DIR
    root.mkdir(parents=True, exist_ok=True, mode=0o711)
    try:
        lock = _locked(root)
        umask = os.umask(0o077)
        try:
            (root / "logs").mkdir(exist_ok=True, mode=0o700)
            yield StateDir(root.resolve(), (temporary or root).resolve(), lock, ephemeral)
        finally:
            os.umask(umask)
            os.close(lock)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_private(file: Path, content: object) -> None:
    """Replace a file with JSON that only the owner may read; a reader never sees a partial file."""
    staging = file.with_name(f"{file.name}.new")
    staging.unlink(missing_ok=True)
    staging.touch(mode=0o600)
    staging.write_text(json.dumps(content, indent=2) + "\n")
    staging.replace(file)


def _locked(root: Path) -> int:
    lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + _CLEANUP_TIMEOUT
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _pid_in(lock)
            if holder is None or processes.runs(holder) or time.monotonic() > deadline:
                os.close(lock)
                raise StateDirInUse(root, holder) from None
            time.sleep(_LOCK_INTERVAL)
        else:
            os.ftruncate(lock, 0)
            os.pwrite(lock, str(os.getpid()).encode(), 0)
            return lock


def _pid_in(lock: int) -> int | None:
    text = os.pread(lock, 20, 0)
    return int(text) if text.isdigit() else None
