"""Real servers from Python wheels, for `mkstore up` and for tests: usable with nothing else of this project running."""

from mkstore.stack.managed_process import PartFailedError
from mkstore.stack.servers.nats import Login, NatsServer, anybody_listens
from mkstore.stack.servers.postgres import PostgresServer, create_databases

__all__ = ["Login", "NatsServer", "PartFailedError", "PostgresServer", "anybody_listens", "create_databases"]
