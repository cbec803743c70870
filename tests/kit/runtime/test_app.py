"""The end of a service's process."""

import http.client
import subprocess
import sys
from pathlib import Path

import psutil

from mkstore.stack.ports import free_port
from tests.conftest import ROOT
from tests.support.polling import eventually


def _is_alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


async def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    port = free_port()
    command = ["faststream", "run", "tests.support.minimal_service:app", "--port", str(port), "--workers", "2"]
    with (tmp_path / "log").open("wb") as log:
        supervisor = subprocess.Popen(  # noqa: ASYNC220 - starting it does not block
            [sys.executable, "-m", *command], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        await eventually(lambda: _is_alive(port), describe=(tmp_path / "log").read_text)
        children = psutil.Process(supervisor.pid).children(recursive=True)
        workers = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert len(workers) == 2
    finally:
        supervisor.kill()
        supervisor.wait()
    await eventually(lambda: not any(worker.is_running() for worker in workers))
