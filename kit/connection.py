"""A connection to PostgreSQL: its address with libpq's parameters for TLS, and what a failed handshake means."""

import ssl
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg

from kit.runtime.tls import TlsFailed, TlsFiles
from kit.runtime.tls_settings import DATABASE_FILES

_PARAMETERS = ("sslrootcert", "sslcert", "sslkey")
_ADDRESS = "DB_HOST"


def ssl_parameters(mode: str, rootcert: str, cert: str, key: str) -> dict[str, str]:
    """Return the parameters of an address for these settings; empty if the driver's defaults are meant.

    asyncpg reads the files for each connection, so renewed certificates need no restart.
    """
    files = zip(_PARAMETERS, (rootcert, cert, key), strict=True)
    given = {name: value for name, value in files if value}
    return given if mode == "prefer" and not given else {"sslmode": mode, **given}


def address(host: str, port: int | str, user: str, password: str, database: str, parameters: dict[str, str]) -> str:
    """Return the address of a database as a URL that asyncpg and libpq understand."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    return f"postgresql://{login}@{host}:{port}/{quote(database, safe='')}{query}"


async def connect(url: str, **options: Any) -> asyncpg.Connection:
    """Connect to the database at `url`; the options are those of `asyncpg.connect`.

    Raises `TlsFailed` if TLS fails or one side does not offer what the other requires, else the driver's error or
    `OSError`.
    """
    try:
        return await asyncpg.connect(url, **options)
    except (OSError, asyncpg.PostgresError) as error:
        if (failure := _failure(error, url)) is not None:
            raise failure from error
        raise


def _failure(error: Exception, url: str) -> TlsFailed | None:
    """Return what `error` means if it concerns TLS."""
    parts = urlsplit(url)
    server = f"PostgreSQL at {parts.hostname}:{parts.port or 5432}"
    given = dict(parse_qsl(parts.query))
    rootcert, cert, key = (given.get(name, "") for name in _PARAMETERS)
    files = TlsFiles(rootcert, cert, key, DATABASE_FILES)
    if isinstance(error, ssl.SSLError):
        return files.failure(error, server, _ADDRESS)
    if isinstance(error, FileNotFoundError | PermissionError) and (problems := files.problems()):
        return TlsFailed(problems[0])
    text = str(error)
    if "rejected SSL upgrade" in text:
        return TlsFailed(
            f"{server} offers no TLS, and DB_SSLMODE is {given.get('sslmode')}: set `ssl = on` in its configuration, "
            "or DB_SSLMODE to disable on a private network."
        )
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        if "client certificate" in text or "certificate authentication" in text:
            return TlsFailed(f"{server} requires a client certificate of this user: set DB_SSLCERT and DB_SSLKEY.")
        if "no encryption" in text or "SSL off" in text:
            return TlsFailed(f"{server} accepts no connection without TLS: set DB_SSLMODE to verify-full.")
    return None
