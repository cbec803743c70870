"""Secrets among the settings: read from a variable or from a file, and judged before a process starts in production."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

DEVELOPMENT_SECRET = "for-development-only"  # noqa: S105 - it protects nothing: production refuses it
"""Default of every secret setting; refused in production."""

FILE_SUFFIX = "_FILE"
"""`JWT_SECRET_FILE` names a file with the value of `JWT_SECRET`, as Docker and Kubernetes mount secrets."""

_MIN_PASSWORD = 12
_MIN_DISTINCT = 4
"""Of this many characters at least one differs from those before."""


class UnreadableSecret(Exception):
    """A secret cannot be read from its file; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Secret:
    """Marks a setting as a secret of at least `min_length` characters: `Annotated[SecretStr, Secret(32)]`.

    If one of the variables in `unless` is set, which names another proof of identity, the secret may be missing.
    """

    min_length: int = _MIN_PASSWORD
    unless: tuple[str, ...] = ()

    def problem(self, name: str, value: str, *, required: bool = True) -> str | None:
        """Return what production refuses about the value of the variable `name`, with the repair, or None."""
        if not value and not required:
            return None
        weakness = _weakness(value, self.min_length)
        repair = f"at least {self.min_length} random characters, such as those of `openssl rand -hex 32`"
        return weakness and f"{name} {weakness}: set it, or {name}{FILE_SUFFIX}, to {repair}."


@dataclass(frozen=True)
class UrlSecret(Secret):
    """Marks a setting as URLs, separated by commas, with passwords; without `required` a URL may have none."""

    required: bool = True

    def problem(self, name: str, value: str, *, required: bool = True) -> str | None:
        """Return what production refuses about the value of the variable `name`, with the repair, or None."""
        required = required and self.required
        if not value and not required:
            return None
        for url in value.split(","):
            try:
                parts = urlsplit(url.strip() if "://" in url else f"nats://{url.strip()}")
            except ValueError:
                return f"{name} is not a URL: set it to scheme://USER:PASSWORD@HOST:PORT."
            password = _password(parts)
            if password or required:
                weakness = _weakness(password, self.min_length)
                if weakness:
                    repair = f"with a password of at least {self.min_length} random characters"
                    return f"The password in {name} {weakness}: use scheme://USER:PASSWORD@HOST:PORT {repair}."
        return None


def secret_files(names: Iterable[str], environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the values that the environment gives in files, by variable, and a sentence for each that it cannot use.

    `names` are the variables that may be given so. The end of the last line does not belong to the value.
    """
    values, problems = dict[str, str](), list[str]()
    for name in names:
        try:
            value = _in_file(name, environ)
        except UnreadableSecret as error:
            problems.append(str(error))
        else:
            if value is not None:
                values[name] = value
    return values, problems


def with_secret_files(names: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Return `environ` with the value of each of `names` that stands in a file. Raises `UnreadableSecret`."""
    names = list(names)
    values, problems = secret_files(names, environ)
    if problems:
        raise UnreadableSecret("\n".join(problems))
    files = {f"{name}{FILE_SUFFIX}" for name in names}
    return {name: value for name, value in environ.items() if name not in files} | values


def _in_file(name: str, environ: Mapping[str, str]) -> str | None:
    variable = f"{name}{FILE_SUFFIX}"
    path = environ.get(variable)
    if not path:
        return None
    if environ.get(name):
        raise UnreadableSecret(f"{name} and {variable} are both set: unset one of them.")
    try:
        value = Path(path).read_text("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not text in UTF-8"
        raise UnreadableSecret(f"{variable}: {path} cannot be read: {reason}.") from None
    if not value:
        raise UnreadableSecret(f"{variable}: {path} is empty; write the secret into it.")
    return value


def _password(parts: SplitResult) -> str:
    return parts.password or parts.username or ""  # NATS: a user without a password is a token


def _weakness(value: str, min_length: int) -> str | None:
    if not value:
        return "is missing"
    if DEVELOPMENT_SECRET in value.lower():
        return "is the default"
    if len(value) < min_length:
        return f"has {len(value)} characters"
    if len(set(value)) * _MIN_DISTINCT < min_length:
        return "repeats the same few characters"
    return None
