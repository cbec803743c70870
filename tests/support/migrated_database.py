"""The database of a service: its environment, and its migration in this process."""

import os
from pathlib import Path

import pytest

from mkstore.stack.servers import PostgresServer

_APPS = Path(__file__).resolve().parents[2] / "apps"


def database_environment(server: PostgresServer, name: str) -> dict[str, str]:
    """Return the environment of a service that uses the database `name`."""
    return {
        "DB_HOST": "127.0.0.1",
        "DB_PORT": str(server.port),
        "DB_USER": server.user,
        "DB_PASSWORD": server.password,
        "DB_DATABASE": name,
    }


def migrate(service: str, environment: dict[str, str]) -> None:
    """Run `alembic upgrade head` for a service; it runs an event loop, so call it outside of one."""
    from alembic import command  # noqa: PLC0415 - every worker would import it, and few need it
    from alembic.config import Config  # noqa: PLC0415 - same reason

    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment.items():
            patch.setitem(os.environ, key, value)
        command.upgrade(Config(_APPS / service / "alembic.ini"), "head")
