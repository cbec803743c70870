"""A store whose services reach their servers through links: `python -m mkstore.prove.stage HOME`.

Everything else is `mkstore up`. A line `<link> <mode>` to the socket `links.sock` in the home changes a link, and is
answered with a line when that is done; a link is called `<service>-<server>`, such as `payments-nats`.
"""

import asyncio
import os
import sys
from pathlib import Path

from mkstore import home as homes
from mkstore.launch import Launch
from mkstore.plan import Options
from mkstore.prove.network import Link, Mode
from mkstore.services import SERVICES
from mkstore.up import announce, say

SOCKET = "links.sock"


async def _stage(root: Path) -> None:
    links: dict[str, Link] = {}

    def detour(service: str, server: str, port: int) -> int:
        name = f"{service}-{server}"
        links[name] = Link(name, port)
        return links[name].port

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().split():
            links[line[0]].set(Mode(line[1]))
            writer.write(b"done\n")
        writer.close()

    with homes.opened(root, ephemeral=True) as home:
        launch = Launch(
            Options(0, root, ephemeral=True, workers=1),
            SERVICES,
            home,
            os.environ,
            say=say,
            ready=announce,
            detour=detour,
        )
        for link in links.values():
            await link.start()
        await asyncio.start_unix_server(listen, home.root / SOCKET)
        await launch.run()
    say("the stage is empty")


if __name__ == "__main__":
    asyncio.run(_stage(Path(sys.argv[1])))
