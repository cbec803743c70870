"""A store with proxies or a small disk: `python -m mkstore.chaos.proxied FOLDER LAYOUT`.

With the layout `services` each service connects to its servers through proxies, with `routes` the NATS servers of a
cluster to each other, and with `small-disk` the first of these has a small file system in memory.

Everything else is `mkstore up`. The socket `control.sock` in the state folder takes one command per connection and
replies with a line when it is done: `<service>-<server> <mode>` changes a link, `<service> stop` and `<service> start`
stop and start a service.
"""

import asyncio
import os
import sys
from pathlib import Path

from mkstore.chaos.network import Link, Mode
from mkstore.services import SERVICES
from mkstore.stack.console import print_addresses, say
from mkstore.stack.local_stack import LocalStack
from mkstore.stack.plan import Options, identity
from mkstore.stack.service_process import ServiceProcess
from mkstore.stack.state_dir import open_state_dir

SOCKET = "control.sock"
STOP, START = "stop", "start"
SERVICE_LINKS, ROUTES, SMALL_DISK = "services", "routes", "small-disk"
"""The layouts."""
DISK_SIZE = 96 << 20
"""Bytes of the small file system."""
SMALL_FILE_SYSTEM = (
    *("unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c"),
    'mkdir -p "$0" && mount -t tmpfs -o size="$1" tmpfs "$0" && shift && exec "$@"',
)
"""Runs a command with a file system in memory; nobody else sees it, and it is empty after a restart."""
_ADVERTISED = 10 << 30
"""Bytes that the server with the small disk believes to have, as one whose disk is shared does."""


class ProxiedStack(LocalStack):
    """A local stack whose services can be stopped and started."""

    async def control(self, name: str, command: str) -> None:
        """Stop or start a service."""
        process: ServiceProcess = next(service for service in self._plan.services if service.name == name)
        await (self._supervisor.stop(process) if command == STOP else self._supervisor.start(process))

    def shrink_disk(self) -> None:
        """Give the first NATS server a small disk, which it does not know."""
        node = self._plan.nats[0]
        node.prefix = (*SMALL_FILE_SYSTEM, str(node.store), str(DISK_SIZE))
        node.max_file_store = _ADVERTISED


async def _run(root: Path, layout: str) -> None:
    links: dict[str, Link] = {}

    def map_port(client: str, server: str, port: int) -> int:
        if layout == ROUTES and not client.startswith("nats"):
            return port
        name = f"{client}-{server}"
        links[name] = Link(name, port)
        return links[name].port

    with open_state_dir(root, ephemeral=True) as state:
        cluster = layout != SERVICE_LINKS
        options = Options(0, root, ephemeral=True, workers=None if cluster else 1, cluster=cluster)
        mapper = identity if layout == SMALL_DISK else map_port
        stack = ProxiedStack(options, SERVICES, state, os.environ, say=say, on_ready=print_addresses, map_port=mapper)
        if layout == SMALL_DISK:
            stack.shrink_disk()

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            name, command = (await reader.readline()).decode().split()
            if name in links:
                links[name].set(Mode(command))
            else:
                await stack.control(name, command)
            writer.write(b"done\n")
            writer.close()

        for link in links.values():
            await link.start()
        await asyncio.start_unix_server(listen, state.root / SOCKET)
        await stack.run()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), sys.argv[2]))
