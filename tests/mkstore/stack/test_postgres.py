"""The embedded PostgreSQL."""

import os
import stat
from pathlib import Path

import asyncpg
import psutil
import pytest

from mkstore.stack.processes import kill_all
from mkstore.stack.servers import PostgresServer, ProcessFailed, create_databases


async def run(url: str, *statements: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


async def test_committed_data_survives_sigkill(
    postgres: PostgresServer,
) -> None:
    url, first = postgres.url, postgres.pid
    await run(url, "DROP TABLE IF EXISTS kept", "CREATE TABLE kept (it int)", "INSERT INTO kept VALUES (7)", "SELECT 1")
    assert postgres.process is not None
    postgres.process.kill()
    postgres.process.wait()
    assert postgres.ending() == "was killed by SIGKILL"
    postgres.start()
    assert (postgres.url, postgres.pid != first) == (url, True)
    assert await run(url, "SELECT it FROM kept") == 7


async def test_start_after_every_process_was_killed(postgres: PostgresServer) -> None:
    await run(
        postgres.url,
        "DROP TABLE IF EXISTS kept",
        "CREATE TABLE kept (it int)",
        "INSERT INTO kept VALUES (7)",
        "SELECT 1",
    )
    assert kill_all(postgres.leftovers) > 3
    postgres.start()
    assert await run(postgres.url, "SELECT it FROM kept") == 7


async def test_reused_pid_in_a_stale_file_does_not_prevent_a_start(
    postgres: PostgresServer,
) -> None:
    kill_all(postgres.leftovers)
    file = postgres.data / "postmaster.pid"
    _, *rest = file.read_text().splitlines()
    file.write_text("\n".join([str(os.getppid()), *rest]) + "\n")
    postgres.start()
    assert await run(postgres.url, "SELECT 1") == 1


async def test_existing_databases_are_kept(postgres: PostgresServer) -> None:
    await create_databases(postgres.url, ["users_db", "payments_db"])
    await create_databases(postgres.url, ["users_db", "payments_db"])
    assert await run(postgres.url_of("payments_db"), "SELECT current_database()") == "payments_db"


async def test_durability_settings_are_on(postgres: PostgresServer) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert await run(postgres.url, f"SHOW {setting}") == "on"


async def test_log_quotes_no_row(postgres: PostgresServer) -> None:
    row = ["DROP TABLE IF EXISTS people", "CREATE TABLE people (email text UNIQUE)", "INSERT INTO people VALUES ($1)"]
    connection = await asyncpg.connect(postgres.url)
    try:
        for statement in row[:-1]:
            await connection.execute(statement)
        await connection.execute(row[-1], "ada@example.com")
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(row[-1], "ada@example.com")
    finally:
        await connection.close()
    text = postgres.log.read_text()
    assert "people_email_key" in text
    assert "ada@example.com" not in text


async def test_wrong_password_is_refused(postgres: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url, password="wrong")


async def test_same_folder_and_password_can_be_started_again(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    with PostgresServer(folder, password="kept") as first:
        assert await run(first.url, "SELECT 1") == 1
    with PostgresServer(folder, password="kept") as second:
        assert await run(second.url, "SELECT 1") == 1
    assert not (folder / "password.new").exists()


def test_data_is_private_and_owned_by_the_running_user(postgres: PostgresServer) -> None:
    owner = postgres.data.stat()
    assert stat.S_IMODE(owner.st_mode) == 0o700
    assert psutil.Process(postgres.pid).uids().effective == owner.st_uid


async def test_root_uses_a_system_user_that_can_reach_the_folder(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o711)
    with PostgresServer(tmp_path / "postgres") as server:
        assert await run(server.url, "SELECT 1") == 1


def test_graceful_stop_leaves_no_process(postgres: PostgresServer) -> None:
    assert postgres.stop() is True
    assert postgres.leftovers() == []
    assert not (postgres.data / "postmaster.pid").exists()


def test_server_that_cannot_start_fails_with_its_log(tmp_path: Path, postgres: PostgresServer) -> None:
    second = PostgresServer(tmp_path / "second", port=postgres.port)
    with pytest.raises(ProcessFailed, match="postgres ended with exit code 1") as failure:
        second.start()
    assert "Address already in use" in failure.value.log
