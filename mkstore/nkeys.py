"""Nkeys for the logins of NATS: `mkstore nkeys` makes the seeds, and `mkstore accounts` prints the public keys.

A login has one key, and for a while two: until every part has connected with the new one.
"""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kit.runtime.nkeys import Nkey, NotALogin

_SEED_BYTES = 32
_PRIVATE = 0o600
_SEED, _PREVIOUS = ".nk", ".previous.nk"


class NoKey(Exception):
    """A login has no key, or a file contains none; the message is one sentence for the operator."""


def create(folder: Path, logins: Iterable[str]) -> list[Path]:
    """Make the seed `LOGIN.nk` of each login that has none, and return the new files. Raises `OSError`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [_write(_file(folder, login)) for login in logins if not _file(folder, login).exists()]


def renew(folder: Path, logins: Iterable[str]) -> list[Path]:
    """Replace the seed of each login and keep the former one as `LOGIN.previous.nk`; return the new files.

    Raises `NoKey` if a login has none, and `OSError`.
    """
    files = [_file(folder, login) for login in logins]
    for file in files:
        _key(file)
    for file in files:
        # The former seed is written first: a command that is interrupted leaves one key that the server knows.
        _replace(file.with_suffix(_PREVIOUS), file.read_text("utf-8"))
    return [_write(file) for file in files]


def forget(folder: Path, logins: Iterable[str]) -> list[Path]:
    """Remove the former seeds and return their files. Raises `OSError`."""
    files = [_file(folder, login).with_suffix(_PREVIOUS) for login in logins]
    removed = [file for file in files if file.exists()]
    for file in removed:
        file.unlink()
    return removed


def public_keys(folder: Path, logins: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return the public keys of each login, that of the former seed last. Raises `NoKey` and `OSError`."""
    keys: dict[str, list[str]] = {}
    for login in logins:
        file = _file(folder, login)
        previous = file.with_suffix(_PREVIOUS)
        keys[login] = [_key(each) for each in (file, *([previous] if previous.exists() else []))]
    return keys


def _file(folder: Path, login: str) -> Path:
    return folder / f"{login}{_SEED}"


def _key(file: Path) -> str:
    try:
        return Nkey.of_seed(file.read_text("utf-8").strip()).public
    except FileNotFoundError:
        raise NoKey(f"{file} does not exist; make it with `mkstore nkeys {file.parent}`") from None
    except NotALogin as error:
        raise NoKey(f"{file} is {error}") from error


def _write(file: Path) -> Path:
    _, seed = Nkey.of_private(secrets.token_bytes(_SEED_BYTES))
    return _replace(file, f"{seed}\n")


def _replace(file: Path, text: str) -> Path:
    """Replace a file; a reader never sees a partial one."""
    staging = file.with_name(f"{file.name}.new")
    staging.unlink(missing_ok=True)
    staging.touch(mode=_PRIVATE)
    staging.write_text(text, "utf-8")
    return staging.replace(file)
