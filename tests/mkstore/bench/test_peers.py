"""The peers of the benchmark: the monolith for real; of those that need npm, the sources and how they are built."""

import asyncio
import json
import re
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from contracts.streams import PAYMENT_COMMANDS
from mkstore.bench import peers
from mkstore.bench.peers import MonolithPeer, NestPeer, Peer, PeerNotBuilt, Process
from mkstore.stack import ports
from mkstore.stack.servers import PostgresServer
from tests.support.polling import eventually

NEST = peers.SOURCES / "nestjs"
URLS = {name: f"postgresql://{name}" for name in ("users", "payments", "monolith")}
PASSWORD = "correct horse battery"


def read_json(name: str) -> Any:
    return json.loads((NEST / name).read_text("utf-8"))


def processes(peer: Peer, built: Path = NEST) -> list[Process]:
    return peer.processes(built, nats_url="nats://one", postgres_urls=URLS, port=4000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def monolith(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """Run the monolith on an empty database; the client has no token."""
    peer, port, database = MonolithPeer(), ports.free_port(), f"monolith_{secrets.token_hex(4)}"
    await asyncio.to_thread(postgres_server.create_databases, database)
    folder = tmp_path_factory.mktemp("monolith")
    (process,) = peer.processes(
        peer.build(folder), nats_url="", postgres_urls={"monolith": postgres_server.url_of(database)}, port=port
    )
    log = folder / "log"
    with log.open("wb") as output:
        running = await asyncio.create_subprocess_exec(
            *process.argv, cwd=process.cwd, env=dict(process.env), stdout=output, stderr=output
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                assert running.returncode is None, log.read_text()
                try:
                    return (await client.get("/health")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, describe=log.read_text)
            yield client
    finally:
        running.terminate()
        await running.wait()


async def signed_in(client: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a new user and the headers with its token."""
    credentials = {"email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD}
    user = await client.post("/users", json=credentials)
    token = await client.post("/auth/login", json=credentials)
    assert (user.status_code, token.status_code) == (201, 200)
    return user.json(), {"Authorization": f"Bearer {token.json()['accessToken']}"}


@pytest.mark.asyncio(loop_scope="module")
async def test_monolith_records_a_payment_in_its_request(monolith: httpx.AsyncClient) -> None:
    user, headers = await signed_in(monolith)
    order = {"userId": user["id"], "amount": 1999, "metadata": {"order": "A-1"}}
    created = await monolith.post("/payments", json=order, headers=headers)
    assert created.status_code == 201
    assert created.json() | order | {"currency": "USD", "status": "created"} == created.json()
    found = await monolith.get(f"/payments/{created.json()['id']}", headers=headers)
    assert (found.status_code, found.json()) == (200, created.json())


@pytest.mark.asyncio(loop_scope="module")
async def test_monolith_lists_payments_newest_first(monolith: httpx.AsyncClient) -> None:
    _, headers = await signed_in(monolith)
    made = [(await monolith.post("/payments", json={"amount": n}, headers=headers)).json() for n in (1, 2, 3)]
    first = (await monolith.get("/payments", params={"limit": 2}, headers=headers)).json()
    cursor = {"limit": 2, "cursor": first["nextCursor"]}
    second = (await monolith.get("/payments", params=cursor, headers=headers)).json()
    assert (first["data"], second["data"]) == ([made[2], made[1]], [made[0]])
    assert (first["hasMore"], second["hasMore"], second["nextCursor"]) == (True, False, None)


@pytest.mark.asyncio(loop_scope="module")
async def test_monolith_answers_a_caller_only_about_itself(monolith: httpx.AsyncClient) -> None:
    user, headers = await signed_in(monolith)
    other, others_headers = await signed_in(monolith)
    payment = (await monolith.post("/payments", json={"amount": 5}, headers=others_headers)).json()
    own = await monolith.get(f"/users/{user['id']}", headers=headers)
    assert (own.status_code, own.json()) == (200, user)
    for path in (f"/users/{other['id']}", f"/payments/{payment['id']}"):
        assert (await monolith.get(path, headers=headers)).status_code == 404


@pytest.mark.asyncio(loop_scope="module")
async def test_monolith_refuses_what_is_invalid(monolith: httpx.AsyncClient) -> None:
    user, headers = await signed_in(monolith)
    credentials = {"email": user["email"], "password": PASSWORD}
    assert (await monolith.post("/users", json=credentials)).status_code == 409
    assert (await monolith.post("/auth/login", json=credentials | {"password": "wrong"})).status_code == 401
    assert (await monolith.post("/payments", json={"amount": -1}, headers=headers)).status_code == 422
    forged = {"Authorization": headers["Authorization"][:-4] + "AAAA"}
    assert (await monolith.get(f"/users/{user['id']}", headers=forged)).status_code == 401


def test_peers_have_the_names_of_the_report() -> None:
    names = [peer.name for peer in peers.peers()]
    assert names == ["nestjs-fastify", "nestjs-express", "nestjs-durable-fastify", "fastapi-monolith"]


@pytest.mark.parametrize("peer", peers.peers(), ids=lambda peer: str(peer.name))
def test_each_database_of_a_peer_is_used_once(peer: Peer) -> None:
    used = [process.env["DATABASE_URL"] for process in processes(peer) if "DATABASE_URL" in process.env]
    assert sorted(used) == sorted(URLS[name] for name in peer.databases)


def test_adapter_and_durability_reach_the_processes() -> None:
    environments = {process.name: process.env for process in processes(NestPeer("durable", "express", durable=True))}
    assert environments["gateway"]["HTTP_ADAPTER"] == "express"
    assert {environment["DURABLE"] for environment in environments.values()} == {"true"}


def test_package_versions_are_exact() -> None:
    package = read_json("package.json")
    versions = package["dependencies"] | package["devDependencies"]
    assert versions
    assert [name for name, version in versions.items() if not re.fullmatch(r"\d+\.\d+\.\d+", version)] == []


def test_lock_file_is_that_of_package_json() -> None:
    package, lock = read_json("package.json"), read_json("package-lock.json")
    for group in ("dependencies", "devDependencies"):
        assert lock["packages"][""][group] == package[group]
        for name, version in package[group].items():
            assert lock["packages"][f"node_modules/{name}"]["version"] == version


def test_lock_file_names_no_registry() -> None:
    packages: Mapping[str, Mapping[str, Any]] = read_json("package-lock.json")["packages"]
    assert [path for path, entry in packages.items() if "resolved" in entry] == []
    assert [path for path, entry in packages.items() if path and "integrity" not in entry] == []


def test_stream_of_the_durable_peer_has_our_settings() -> None:
    assert read_json("payment-commands.json") == {
        "name": PAYMENT_COMMANDS.name,
        "retention": PAYMENT_COMMANDS.retention,
        "discard": PAYMENT_COMMANDS.discard,
        "duplicateWindowSeconds": PAYMENT_COMMANDS.duplicate_window.total_seconds(),
        "maxBytes": PAYMENT_COMMANDS.max_bytes,
        "maxMessageBytes": PAYMENT_COMMANDS.max_message_bytes,
    }


FakeNpm = Callable[[str], Path]


@pytest.fixture
def fake_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNpm:
    """Put `node` and an `npm` that writes its arguments into a file first on the PATH; return a function to do so."""

    def install(script: str) -> Path:
        calls, programs = tmp_path / "calls", tmp_path / "bin"
        programs.mkdir()
        for name, text in {"node": "", "npm": f'echo "$PWD $*" >> {calls}\n{script}'}.items():
            (programs / name).write_text(f"#!/bin/sh\n{text}\n")
            (programs / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(programs), prepend=":")
        return calls

    return install


def test_node_peers_share_one_build_outside_of_the_sources(fake_npm: FakeNpm, tmp_path: Path) -> None:
    calls = fake_npm("mkdir -p dist")
    built = {peer.build(tmp_path / "cache") for peer in peers.peers() if peer.needs_node}
    assert len(built) == 1
    (folder,) = built
    assert folder.parent == tmp_path / "cache"
    assert (folder / "package-lock.json").exists()
    assert [line.split(" ", 1)[1] for line in calls.read_text().splitlines()] == [
        "ci",
        "run build",
        "prune --omit=dev",
    ]
    assert not any(line.startswith(str(NEST)) for line in calls.read_text().splitlines())


def test_failed_build_is_reported_and_not_kept(fake_npm: FakeNpm, tmp_path: Path) -> None:
    fake_npm("echo no such package; exit 3")
    with pytest.raises(PeerNotBuilt, match=r"`npm ci` ended with exit code 3:\nno such package"):
        NestPeer("nestjs-fastify", "fastify").build(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PeerNotBuilt, match="nestjs-fastify needs node and npm"):
        NestPeer("nestjs-fastify", "fastify").build(tmp_path)


def test_monolith_runs_in_the_environment_of_the_benchmark() -> None:
    (process,) = processes(MonolithPeer())
    assert process.argv[0] == sys.executable
    assert "--no-access-log" in process.argv
