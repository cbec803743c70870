"""`mkstore secrets`, `certs` and `nkeys`: the secret files of a deployment, its certificates, and keys as logins."""

import secrets as random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from contracts.logins import OPERATOR, WATCHER
from mkstore.cli.support import JsonOption, fail, show
from mkstore.services import SERVICES, ServiceSpec

QUOTE = '"'
"""Part of the password of a NATS login, which nats-server parses as configuration: see deploy/nats.conf."""
_BYTES = 32
_LOGIN = "nats/NATS_{}_PASSWORD"
_DAYS, _AUTHORITY_DAYS = 90, 3650
_MAX_DAYS = 36_500


class SecretFile(NamedTuple):
    """A file below the folder of secrets: `HOLDER/VARIABLE`, with the secret or with what contains that of `source`."""

    path: str
    source: str | None = None
    text: Callable[[str], str] = str
    """Returns the content from the secret, or from the content of `source`."""


def secrets(
    folder: Annotated[Path, typer.Argument(help="Folder of the files; created if it does not exist.")],
    nats: Annotated[str, typer.Option(metavar="HOST:PORT", help="Address of NATS for the services.")] = "nats:4222",
) -> None:
    """Make the secrets of production, one file each, below a folder that only you can read; print the new ones.

    A file that exists is kept, so the command adds what a new service needs. Each subfolder is what one part gets.
    """
    files = list(secret_files(SERVICES, nats))
    for file in files:
        if file.source and (folder / file.path).exists() and not (folder / file.source).exists():
            fail(f"{folder / file.path} exists and {folder / file.source} does not: restore it, or remove both.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            fail(f"Other users can enter {folder}: repair it with `chmod 700`, or name another folder.")
        created = [path for file in files if (path := _write(folder, file))]
    except OSError as error:
        fail(f"{error.filename} cannot be written: {error.strerror}.")
    typer.echo("\n".join(map(str, created)) or f"All secrets exist already in {folder}.")


def certs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the files; it is made if it is missing.")],
    *,
    days: Annotated[int, typer.Option(min=1, max=_MAX_DAYS, help="Days for which certificates are valid.")] = _DAYS,
    authority_days: Annotated[
        int, typer.Option(min=1, max=_MAX_DAYS, help="Days for which a new authority is valid.")
    ] = _AUTHORITY_DAYS,
    names: Annotated[
        str, typer.Option(metavar="HOSTS", help="Further host names and addresses of both servers, with commas.")
    ] = "",
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the certificates and their keys; the authority stays.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an authority, certificates of NATS and PostgreSQL, and one for each service and the operator.

    Nothing is replaced without --renew. Keys are readable by their owner only; keep ca.key elsewhere than the others.
    """
    from mkstore import certificates  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    hosts = tuple(name.strip() for name in names.split(",") if name.strip())
    subjects = certificates.subjects([spec.name for spec in SERVICES], hosts)
    try:
        if renew:
            files = certificates.renew(folder, subjects, days=days)
        else:
            files = certificates.create(folder, subjects, days=days, authority_days=authority_days)
    except certificates.CannotIssue as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or folder} cannot be written: {error.strerror}.")
    rows = [{"file": str(file), "mode": f"{file.stat().st_mode & 0o777:o}"} for file in files]
    show("renewed; reload the servers" if renew else "made", ["file", "mode"], rows, as_json=as_json)


def nkeys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the seeds; it is made if it is missing.")],
    *,
    renew: Annotated[bool, typer.Option("--renew", help="Make new keys; the former ones stay valid.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Remove the former keys.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an nkey for each login of NATS: a file with its seed, for NATS_CREDS, in place of a password.

    `mkstore accounts --nkeys DIR` prints what nats-server needs: the public keys.
    """
    from mkstore import nkeys as files  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    if renew and forget:
        fail("--renew and --forget are two steps: servers and services must take the new keys in between.")
    change = files.renew if renew else files.forget if forget else files.create
    try:
        changed = change(folder, [*(spec.name for spec in SERVICES), WATCHER, OPERATOR])
    except files.NoKey as error:
        fail(f"{error}.")
    except OSError as error:
        fail(f"{error.filename or folder} cannot be written: {error.strerror}.")
    show("removed" if forget else "made", ["file"], [{"file": str(file)} for file in changed], as_json=as_json)


def secret_files(services: tuple[ServiceSpec, ...], nats: str) -> Iterator[SecretFile]:
    """Yield the files of all parts, each after its `source`; `nats` is the services' address of NATS."""
    for login in (*(spec.name for spec in services), WATCHER, OPERATOR):
        yield SecretFile(_LOGIN.format(login.upper()), text=lambda secret: f"{QUOTE}{secret}{QUOTE}")
    yield SecretFile("postgres/POSTGRES_PASSWORD")
    for spec in services:
        yield _url(spec.name, "NATS_URL", spec.name, nats)
        if spec.database:
            password = f"postgres/{spec.name.upper()}_DB_PASSWORD"
            yield SecretFile(password)
            yield SecretFile(f"{spec.name}/DB_PASSWORD", password)
        if spec.keeps_keys:
            yield SecretFile(f"{spec.name}/JWT_SECRET")
    yield _url("gateway", "LIVE_NATS_URL", WATCHER, nats)
    yield _url("provision", "NATS_URL", OPERATOR, nats)


def _url(holder: str, variable: str, login: str, nats: str) -> SecretFile:
    def url(password: str) -> str:
        return f"nats://{login}:{password.strip(QUOTE)}@{nats}"

    return SecretFile(f"{holder}/{variable}", _LOGIN.format(login.upper()), url)


def _write(folder: Path, file: SecretFile) -> Path | None:
    """Write a file that does not exist yet and return its path.

    All can read it, also with a strict umask, since a container has another user and mounts the subfolder only; the
    mode of the folder keeps out the other users of this machine.
    """
    path = folder / file.path
    if path.exists():
        return None
    secret = (folder / file.source).read_text("utf-8") if file.source else random.token_hex(_BYTES)
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text(file.text(secret), "utf-8")
    path.chmod(0o444)
    return path
