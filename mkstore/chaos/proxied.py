"""A store whose services connect to their servers through proxies: `python -m mkstore.chaos.proxied FOLDER`.

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
from mkstore.stack.plan import Options
from mkstore.stack.service_process import ServiceProcess
from mkstore.stack.state_dir import open_state_dir

SOCKET = "control.sock"
STOP, START = "stop", "start"


class ProxiedStack(LocalStack):
    """A local stack whose services can be stopped and started."""

    async def control(self, name: str, command: str) -> None:
        """Stop or start a service."""
        process: ServiceProcess = next(service for service in self._plan.services if service.name == name)
        await (self._supervisor.stop(process) if command == STOP else self._supervisor.start(process))


async def _run(root: Path) -> None:
    links: dict[str, Link] = {}

    def map_port(service: str, server: str, port: int) -> int:
        name = f"{service}-{server}"
        links[name] = Link(name, port)
        return links[name].port

    with open_state_dir(root, ephemeral=True) as state:
        options = Options(0, root, ephemeral=True, workers=1)
        stack = ProxiedStack(options, SERVICES, state, os.environ, say=say, on_ready=print_addresses, map_port=map_port)

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
    asyncio.run(_run(Path(sys.argv[1])))
