"""The receiver of traces as a server in this process, on the loopback."""

from kit.ops.embedded_server import EmbeddedServer
from mkstore.traces.receiver import create_app
from mkstore.traces.store import SpanStore

_LOOPBACK = "127.0.0.1"


class TraceServer(EmbeddedServer):
    """Receives traces at `port` of the loopback and keeps the last ones in `store`; `token` begins every path."""

    def __init__(self, port: int, token: str, store: SpanStore | None = None) -> None:
        self.store = store or SpanStore()
        hosts = frozenset({f"{_LOOPBACK}:{port}", f"localhost:{port}"})
        super().__init__(create_app(self.store, token, hosts), _LOOPBACK, port)
