"""A store whose services reach their servers through links: `python -m mkstore.chaos.proxied HOME`.

Everything else is `mkstore up`. A line to the socket `stage.sock` in the home is answered with a line when it is done:
`<service>-<server> <mode>` changes a link, `<service> away` and `<service> back` stop a service and start it again.
"""

import asyncio
import os
import sys
from pathlib import Path

from mkstore.chaos.network import Link, Mode
from mkstore.stack import state_dir as homes
from mkstore.stack.console import announce, say
from mkstore.stack.local_stack import LocalStack
from mkstore.stack.plan import Options
from mkstore.stack.service_process import SERVICES, ServiceProcess

SOCKET = "stage.sock"
AWAY, BACK = "away", "back"


class ProxiedStack(LocalStack):
    """A launch whose services can be sent away."""

    async def tell(self, name: str, what: str) -> None:
        """Stop or start a service."""
        part: ServiceProcess = next(service for service in self._plan.services if service.name == name)
        await (self._supervisor.stop(part) if what == AWAY else self._supervisor.start(part))


async def _stage(root: Path) -> None:
    links: dict[str, Link] = {}

    def detour(service: str, server: str, port: int) -> int:
        name = f"{service}-{server}"
        links[name] = Link(name, port)
        return links[name].port

    with homes.opened(root, ephemeral=True) as home:
        options = Options(0, root, ephemeral=True, workers=1)
        stage = ProxiedStack(options, SERVICES, home, os.environ, say=say, ready=announce, detour=detour)

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            name, what = (await reader.readline()).decode().split()
            if name in links:
                links[name].set(Mode(what))
            else:
                await stage.tell(name, what)
            writer.write(b"done\n")
            writer.close()

        for link in links.values():
            await link.start()
        await asyncio.start_unix_server(listen, home.root / SOCKET)
        await stage.run()


if __name__ == "__main__":
    asyncio.run(_stage(Path(sys.argv[1])))
