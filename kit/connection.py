"""A connection to PostgreSQL: its address with libpq's parameters for TLS, and what a failed handshake means."""

import asyncio
import ssl
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import asyncpg

from kit.runtime.tls import TlsFailed, TlsFiles
from kit.runtime.tls_settings import DATABASE_FILES

_PARAMETERS = ("sslrootcert", "sslcert", "sslkey")
_ADDRESS = "DB_HOST"
_PORT = 5432
_SSL_REQUEST = struct.pack("!ii", 8, 80_877_103)
_ALERT_TIMEOUT = 1.0
_TRANSACTION_TIMEOUT_SINCE = 17
_last_primary: dict[str, str] = {}
"""Address of the last primary, by the address of all servers."""


def ssl_parameters(mode: str, rootcert: str, cert: str, key: str) -> dict[str, str]:
    """Return the parameters of an address for these settings; empty if the driver's defaults are meant.

    asyncpg reads the files for each connection, so renewed certificates need no restart.
    """
    files = zip(_PARAMETERS, (rootcert, cert, key), strict=True)
    given = {name: value for name, value in files if value}
    return given if mode == "prefer" and not given else {"sslmode": mode, **given}


class Server(NamedTuple):
    """Host and port of a PostgreSQL server."""

    host: str
    port: str


def servers_of(hosts: str, ports: str) -> list[Server]:
    """Return the servers of DB_HOST and DB_PORT, which have commas between several; one port is that of every host."""
    names, given = [host.strip() for host in hosts.split(",")], [port.strip() for port in ports.split(",")]
    return [Server(*each) for each in zip(names, given if len(given) > 1 else given * len(names), strict=True)]


def several(servers: Sequence[Server]) -> dict[str, str]:
    """Return the parameters of an address of several servers: connections go to the primary among them."""
    hosts, ports = (",".join(each) for each in zip(*servers, strict=True))
    return {"host": hosts, "port": ports, "target_session_attrs": "read-write"}


def address(host: str, port: int | str, user: str, password: str, database: str, parameters: dict[str, str]) -> str:
    """Return the address of a database as a URL that asyncpg and libpq understand."""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    servers = servers_of(host, str(port))
    if len(servers) > 1:
        where, parameters = "", several(servers) | parameters
    else:
        where = f"{servers[0].host}:{servers[0].port}"
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    return f"postgresql://{login}@{where}/{quote(database, safe='')}{query}"


async def connect(url: str, *, transaction_timeout: float | None = None, **options: Any) -> asyncpg.Connection:
    """Connect to the database at `url`, of several servers to the primary; the options are those of `asyncpg.connect`.

    The last primary is tried first, and each server has the whole time of the option `timeout`: asyncpg itself would
    wait for a machine that does not answer until no time is left for the next one. With `transaction_timeout` the
    server ends the session if a transaction waits that long for its next statement, and as `limit_transactions` says;
    without it the limits of the server stay.

    Raises `TlsFailed` if TLS fails or one side does not offer what the other requires, else the driver's error or
    `OSError`.
    """
    if transaction_timeout is not None:
        idle = {"idle_in_transaction_session_timeout": f"{transaction_timeout * 1000:.0f}"}
        options["server_settings"] = idle | options.get("server_settings", {})
    connection = await _connect_any(url, options)
    if transaction_timeout is not None:
        try:
            await limit_transactions(connection, transaction_timeout)
        except BaseException:
            connection.terminate()
            raise
    return connection


async def limit_transactions(connection: asyncpg.Connection, timeout: float) -> None:  # noqa: ASYNC109 - the server's
    """Let the server end the session if a transaction takes longer than `timeout` seconds; 0 means no limit.

    So the locks of a process that hangs are released, also within a new statement, which asyncpg sends in two parts.
    Servers before PostgreSQL 17 do not know this limit, and it has no effect.
    """
    if connection.get_server_version().major >= _TRANSACTION_TIMEOUT_SINCE:
        # The method of the base class: this statement is part of no request, and its trace must not have it.
        await asyncpg.Connection.execute(connection, f"SET transaction_timeout = {timeout * 1000:.0f}")


async def _connect_any(url: str, options: dict[str, Any]) -> asyncpg.Connection:
    candidates = _each(url)
    for candidate in candidates[:-1]:
        with suppress(OSError, asyncpg.PostgresError):
            return await _connect(candidate, url, options)
    return await _connect(candidates[-1], url, options)


async def _connect(candidate: str, url: str, options: dict[str, Any]) -> asyncpg.Connection:
    try:
        connection: asyncpg.Connection = await asyncpg.connect(candidate, **options)
    except asyncpg.TargetServerAttributeNotMatched as error:
        raise ConnectionRefusedError(f"PostgreSQL at {_server(candidate)} is a standby") from error
    except (OSError, asyncpg.PostgresError) as error:
        reason = await _alert(candidate) or error if isinstance(error, asyncpg.ConnectionDoesNotExistError) else error
        if (failure := _failure(reason, candidate)) is not None:
            raise failure from error
        raise
    if candidate != url:
        _last_primary[url] = candidate
    return connection


def _each(url: str) -> list[str]:
    """Return an address for each server of `url`, that of the last primary first."""
    parts = urlsplit(url)
    parameters = dict(parse_qsl(parts.query))
    hosts = parameters.pop("host", "")
    if "," not in hosts:
        return [url]
    servers = servers_of(hosts, parameters.pop("port"))
    query = urlencode(parameters, quote_via=quote)
    candidates = [
        urlunsplit(parts._replace(netloc=f"{parts.netloc}{host}:{port}", query=query)) for host, port in servers
    ]
    return sorted(candidates, key=lambda candidate: candidate != _last_primary.get(url))


def _server(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or _PORT}"


async def _alert(url: str) -> ssl.SSLError | None:
    """Return why the server refuses the client's certificate; None if it does not.

    With TLS 1.3 it does so after the handshake, and asyncpg reports a closed connection, as after the end of a server.
    So this connects again and reads the server's alert; it sends no login.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query))
    if not given.get("sslcert") or not parts.hostname:
        return None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(given["sslcert"], given.get("sslkey"), password="")
        async with asyncio.timeout(_ALERT_TIMEOUT):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port or _PORT)
            try:
                writer.write(_SSL_REQUEST)
                if await reader.readexactly(1) == b"S":
                    await writer.start_tls(context)
                    await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as alert:
        return alert
    except (OSError, EOFError):  # also the timeout: the server waits for the login
        pass
    return None


def _failure(error: Exception, url: str) -> TlsFailed | None:
    """Return what `error` means if it concerns TLS."""
    server = f"PostgreSQL at {_server(url)}"
    given = dict(parse_qsl(urlsplit(url).query))
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
