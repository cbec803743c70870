"""The variables of certificates and of logins in files, and what is wrong about their values."""

from collections.abc import Mapping

from kit.runtime.nkeys import FileLogin, NotALogin
from kit.runtime.tls import TlsFiles

NATS_FILES = ("NATS_CA", "NATS_CERT", "NATS_KEY")
"""Authorities, client certificate and its key; the names that the `nats` command uses too."""
DATABASE_FILES = ("DB_SSLROOTCERT", "DB_SSLCERT", "DB_SSLKEY")
"""The same of PostgreSQL, with libpq's names."""
_LOGINS = {"NATS_CREDS": "NATS_URL", "LIVE_NATS_CREDS": "LIVE_NATS_URL"}
"""Variables of logins in files, and that of the addresses where each is used."""

_VERIFYING = ("verify-ca", "verify-full")


def tls_files(environ: Mapping[str, str], variables: tuple[str, str, str]) -> TlsFiles:
    """Return the files that `variables` name in an environment."""
    ca, cert, key = (environ.get(name) or "" for name in variables)
    return TlsFiles(ca, cert, key, variables)


def tls_problems(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each of these variables that cannot be used, with the repair; none if all can."""
    problems = [problem for names in (NATS_FILES, DATABASE_FILES) for problem in tls_files(environ, names).problems()]
    for name, of_url in _LOGINS.items():
        if path := environ.get(name):
            problems += _problems_of_login(name, path, of_url, environ.get(of_url) or "")
    mode, authorities = environ.get("DB_SSLMODE") or "prefer", environ.get("DB_SSLROOTCERT")
    if mode in _VERIFYING and not authorities:
        problems.append(f"DB_SSLMODE is {mode}: set DB_SSLROOTCERT to the file with the server's authority.")
    if authorities and mode in {"disable", "prefer"}:
        problems.append(f"DB_SSLROOTCERT is not used when DB_SSLMODE is {mode}: set DB_SSLMODE to verify-full.")
    return problems


def _problems_of_login(name: str, path: str, of_url: str, urls: str) -> list[str]:
    try:
        FileLogin.read(path)
    except OSError as error:
        return [f"{name}: {path} cannot be read: {error.strerror}."]
    except NotALogin as error:
        return [f"{name}: {path} is {error}."]
    if "@" in urls:
        return [f"{name} and a user in {of_url} are two logins: remove one of them."]
    return []
