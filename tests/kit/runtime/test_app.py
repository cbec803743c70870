"""The start and the end of a service's process."""

import asyncio
import http.client
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

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


@pytest.mark.parametrize("before", ["", "import gc; gc.freeze()"], ids=["none", "some"])
async def test_objects_of_the_start_are_excluded_from_garbage_collection(tmp_path: Path, before: str) -> None:
    """Python 3.12 has already excluded some objects."""
    port = free_port()
    program = f"{before}\nimport runpy; runpy.run_module('faststream', run_name='__main__')"
    command = [sys.executable, "-c", program, "run", "tests.support.minimal_service:app", "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)  # noqa: ASYNC220 - starting it does not block
    try:
        await eventually(lambda: _is_alive(port), describe=(tmp_path / "log").read_text)
        assert int(_get(port, "/frozen-objects") or 0) > 10_000
    finally:
        service.terminate()
        service.wait()


@contextmanager
def _supervised(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run two workers; yield their supervisor and their port. The log is in `folder`."""
    port = free_port()
    command = ["faststream", "run", "tests.support.minimal_service:app", "--port", str(port), "--workers", "2"]
    with (folder / "log").open("wb") as log:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        yield supervisor, port
    finally:
        supervisor.terminate()
        supervisor.wait()


def _workers(supervisor: subprocess.Popen[bytes]) -> list[psutil.Process]:
    children = psutil.Process(supervisor.pid).children(recursive=True)
    return [child for child in children if _is_worker(child)]


def _is_worker(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # it has just ended
        return False


async def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path) -> None:
    with _supervised(tmp_path, {}) as (supervisor, port):
        await eventually(lambda: _is_alive(port), describe=(tmp_path / "log").read_text)
        workers = _workers(supervisor)
        assert len(workers) == 2
        supervisor.kill()
    await eventually(lambda: not any(worker.is_running() for worker in workers))


async def test_worker_that_starts_slowly_is_not_killed(tmp_path: Path) -> None:
    """By default uvicorn's supervisor kills a worker that does not reply within 5 s, also while it starts."""
    slow_start = "import sys, time\nif any('spawn_main' in each for each in sys.orig_argv): time.sleep(7)\n"
    (tmp_path / "sitecustomize.py").write_text(slow_start)
    with _supervised(tmp_path, {"PYTHONPATH": str(tmp_path)}) as (_, port):
        await eventually(lambda: _is_alive(port), describe=(tmp_path / "log").read_text)
        assert "died" not in (tmp_path / "log").read_text()


async def test_worker_that_dies_while_its_reply_is_awaited_is_replaced_at_once(tmp_path: Path) -> None:
    """uvicorn's supervisor keeps the worker's end of the pipe open, so it waits for a reply of a dead one."""
    with _supervised(tmp_path, {}) as (supervisor, port):
        await eventually(lambda: _is_alive(port), describe=(tmp_path / "log").read_text)
        worker, other = _workers(supervisor)
        worker.suspend()
        await asyncio.sleep(2)  # it is asked every half second
        worker.kill()
        await eventually(lambda: len(set(_workers(supervisor)) - {worker, other}) == 1, timeout=10)
