"""Provisioning of a NATS server whose store is smaller than what the streams reserve."""

import pytest

from kit.ops.provisioning import NotProvisioned, Sizes, provision
from mkstore.stack.servers import NatsServer

SMALL_EVENT_STREAM = 1 << 20
MAX_FILE_STORE = sum(stream.max_bytes or 0 for stream in Sizes(event_stream_bytes=SMALL_EVENT_STREAM).streams())


class SmallNats(NatsServer):
    """A NATS server with room for the other streams, and for two small streams of events only."""

    def configuration(self) -> dict[str, object]:
        store = {"store_dir": str(self.folder.resolve() / "store"), "max_file_store": MAX_FILE_STORE}
        return super().configuration() | {"jetstream": store}


async def test_small_store_is_refused_with_the_remedy(tmp_path_factory: pytest.TempPathFactory) -> None:
    refusal = pytest.raises(NotProvisioned, match=r"has no room for the stream .* set EVENT_STREAM_BYTES to a smaller")
    with SmallNats(tmp_path_factory.mktemp("small")) as server, refusal:
        await provision(server.url, Sizes())


async def test_smaller_event_streams_fit_a_small_store(tmp_path_factory: pytest.TempPathFactory) -> None:
    with SmallNats(tmp_path_factory.mktemp("small")) as server:
        assert await provision(server.url, Sizes(event_stream_bytes=SMALL_EVENT_STREAM))
