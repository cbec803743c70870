"""The start and the end of a service's process."""

import http.client
import os
import subprocess
import sys
from pathlib import Path

import psutil

from mkstore.stack.ports import free_port
from tests.conftest import ROOT
from tests.support.polling import eventually


def _get(port: int, path: str) -> str | None:
    """Return the body of a response with status 200; None for any other, and while nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.read().decode() if response.status == http.HTTPStatus.OK else None
    except OSError:
        return None
    finally:
        connection.close()


def _is_alive(port: int) -> bool:
    return _get(port, "/health/live") is not None


async def test_objects_of_the_start_are_excluded_from_garbage_collection(tmp_path: Path) -> None:
    port = free_port()
    command = ["faststream", "run", "tests.support.minimal_service:app", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=log, stderr=log)  # noqa: ASYNC220 - starting it does not block
    try:
        await eventually(lambda: _is_alive(port), describe=(tmp_path / "log").read_text)
        assert int(_get(port, "/frozen-objects") or 0) > 10_000
    finally:
        service.terminate()
        service.wait()


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


async def test_worker_that_starts_slowly_is_not_killed(tmp_path: Path) -> None:
    """By default uvicorn's supervisor kills a worker that does not reply within 5 s, also while it starts."""
    slow_start = "import sys, time\nif any('spawn_main' in each for each in sys.orig_argv): time.sleep(7)\n"
    (tmp_path / "sitecustomize.py").write_text(slow_start)
    port = free_port()
    command = ["faststream", "run", "tests.support.minimal_service:app", "--port", str(port), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    with (tmp_path / "log").open("wb") as log:
        supervisor = subprocess.Popen(  # noqa: ASYNC220 - starting it does not block
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        await eventually(lambda: _is_alive(port), describe=(tmp_path / "log").read_text)
        assert "died" not in (tmp_path / "log").read_text()
    finally:
        supervisor.terminate()
        supervisor.wait()
