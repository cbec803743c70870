"""The peers as contenders: each with a nats-server and a PostgreSQL like those of `mkstore up`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
from jose import jwt

from mkstore.bench.contenders.seed import SeedFailed, copy_user, sign_up
from mkstore.bench.contenders.server_process import ServerProcess
from mkstore.bench.load.calls import Call, json_call
from mkstore.bench.load.tables import table_with
from mkstore.bench.load.target import PASSWORD, Account, Target
from mkstore.bench.peers import JWT_SECRET, Peer
from mkstore.stack import ports
from mkstore.stack.servers import NatsServer, PostgresServer, create_databases
from mkstore.stack.state_dir import DEFAULT_STATE_DIR

BUILDS = DEFAULT_STATE_DIR / "bench"
"""Where peers are built, once for the same sources."""
_TOKEN_LIFETIME = timedelta(days=1)


@asynccontextmanager
async def running_peer(peer: Peer, folder: Path, users: int) -> AsyncIterator[Target]:
    """Build and run a peer with `users`.

    Raises `PeerNotBuilt` or `ProcessFailed` if it cannot be built or started, `SeedFailed` if it has no users.
    """
    built = await asyncio.to_thread(peer.build, BUILDS)
    port = ports.free_port()
    with ExitStack() as stack:
        nats = stack.enter_context(NatsServer(folder / "nats"))
        postgres = stack.enter_context(PostgresServer(folder / "postgres"))
        await create_databases(postgres.url, peer.databases)
        urls = {name: postgres.url_of(name) for name in peer.databases}
        started: dict[str, ServerProcess] = {}
        # The one that serves HTTP is last: it is ready when the others answer.
        processes = peer.processes(built, nats_url=nats.url, postgres_urls=urls, port=port)
        for process in processes:
            serves = process is processes[-1]
            log = folder / f"{process.name}.log"
            server = ServerProcess(
                process.name, process.argv, cwd=process.cwd, env=process.env, log=log, port=port if serves else None
            )
            started[process.name] = stack.enter_context(server)
        url = f"http://{ports.LOOPBACK}:{port}"
        accounts = await _seed(url, list(urls.values()), users)
        has_tokens = not peer.needs_node  # NestJS has no authentication, as the original
        if has_tokens:
            accounts = [replace(account, token=_token(account)) for account in accounts]
        yield Target(
            name=peer.name,
            url=url,
            parts=lambda: {
                **{name: server.pid or 0 for name, server in started.items()},
                "nats": nats.pid or 0,
                "postgres": postgres.pid or 0,
            },
            users=accounts,
            # With authentication a list has the caller's own payments: those of the first user, in large tables.
            admins=accounts[:1] if has_tokens else accounts[:10],
            payments_url=await _database_with(list(urls.values()), "amount"),
            answers_payment=True,
            sign_in=_sign_in,
        )


async def _seed(url: str, databases: Sequence[str], users: int) -> list[Account]:
    email = await sign_up(url)
    connection = await asyncpg.connect(await _database_with(databases, "email"))
    try:
        return await copy_user(connection, email, users)
    finally:
        await connection.close()


async def _database_with(urls: Sequence[str], column: str) -> str:
    """Return the address of the database that has a table with `column`. Raises `SeedFailed` if none has."""
    for url in urls:
        connection = await asyncpg.connect(url)
        try:
            if await table_with(connection, column):
                return url
        finally:
            await connection.close()
    names = ", ".join(urlsplit(url).path.strip("/") for url in urls)
    raise SeedFailed(f"no table in {names} has a column {column}")


def _token(account: Account) -> str:
    expires = datetime.now(UTC) + _TOKEN_LIFETIME
    return str(jwt.encode({"sub": account.id, "exp": int(expires.timestamp())}, JWT_SECRET, algorithm="HS256"))


def _sign_in(account: Account) -> Call:
    return json_call("POST", "/auth/login", {"email": account.email, "password": PASSWORD})
