"""The end of a service's process."""

import http.client
import os
import subprocess
import sys
from pathlib import Path

import psutil

from mkstore.stack.ports import free_port
from mkstore.stack.servers import NatsServer
from tests.conftest import ROOT
from tests.support.polling import eventually


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


async def test_workers_end_when_their_supervisor_is_killed(nats_server: NatsServer, tmp_path: Path) -> None:
    port = free_port()
    command = ["faststream", "run", "apps.gateway.main:app", "--port", str(port), "--workers", "2"]
    with (tmp_path / "log").open("wb") as log:
        supervisor = subprocess.Popen(  # noqa: ASYNC220 - starting it does not block
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=os.environ | {"NATS_URL": nats_server.url},
            stdout=log,
            stderr=log,
        )
    try:
        await eventually(lambda: _answers(port), describe=(tmp_path / "log").read_text)
        children = psutil.Process(supervisor.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 2
    finally:
        supervisor.kill()
        supervisor.wait()
    await eventually(lambda: not any(worker.is_running() for worker in workers))
