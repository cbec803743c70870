"""A cluster of nats-servers for tests."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mkstore.stack.servers.nats_cluster import NatsNode, cluster_of
from tests.support.polling import eventually


@contextmanager
def running_nodes(folder: Path, **options: Any) -> Iterator[list[NatsNode]]:
    """Run three nodes, which know each other, until the end of the block; `options` are those of `NatsServer`."""
    nodes = cluster_of(folder, password="routes", log=lambda name: folder / f"{name}.log", options=options)
    try:
        for node in nodes:
            node.spawn()
        asyncio.run(eventually(lambda: all(node.is_ready() for node in nodes)))
        yield nodes
    finally:
        for node in nodes:
            node.stop()
