"""The peers of the benchmark: how each is built, and which processes it runs."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mkstore.stack.ports import LOOPBACK

SOURCES = Path(__file__).resolve().parents[2] / "bench" / "peers"
JWT_SECRET = "known-to-the-benchmark"  # noqa: S105 - it protects nothing outside of the benchmark
"""Signs the peers' access tokens (HS256, claim `sub`), so that a benchmark can also sign them itself."""

_NODE_PROGRAMS = ("node", "npm")
_BUILD = (("npm", "ci"), ("npm", "run", "build"), ("npm", "prune", "--omit=dev"))
_GENERATED = {"node_modules", "dist"}


class PeerNotBuilt(Exception):
    """A peer cannot be built or run on this machine."""


@dataclass(frozen=True)
class Process:
    """A process of a peer; `env` is its whole environment."""

    name: str
    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]


class Peer(Protocol):
    """A system that the benchmark compares with.

    Its HTTP API is at `port` of the loopback, and it is ready when `GET /health` answers 200.
    """

    @property
    def name(self) -> str:
        """The name in reports."""

    @property
    def needs_node(self) -> bool:
        """Whether it is built and run with Node.js."""

    @property
    def databases(self) -> tuple[str, ...]:
        """The keys of `postgres_urls`: one empty database each; tables are created at start."""

    def build(self, folder: Path) -> Path:
        """Build the peer below `folder`, unless the same sources are built there; return the folder to run it in.

        Raises `PeerNotBuilt` if the sources or a program are missing, or a command of the build fails.
        """

    def processes(self, built: Path, *, nats_url: str, postgres_urls: Mapping[str, str], port: int) -> list[Process]:
        """Return the processes to start, in any order, for a peer that is built in `built`."""


@dataclass(frozen=True)
class NestPeer:
    """The NestJS services of `bench/peers/nestjs`, with the HTTP `adapter` fastify or express."""

    name: str
    adapter: str
    durable: bool = False
    needs_node: bool = True
    databases: tuple[str, ...] = ("users", "payments")

    def build(self, folder: Path) -> Path:
        """See `Peer.build`."""
        missing = [program for program in _NODE_PROGRAMS if shutil.which(program) is None]
        if missing:
            raise PeerNotBuilt(f"{self.name} needs {' and '.join(missing)}: install Node.js 20 or later")
        source = _existing(SOURCES / "nestjs")
        built = folder.resolve() / f"nestjs-{_digest(source)}"
        if not built.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="nestjs-", dir=folder) as temporary:
                staging = Path(temporary, "nestjs")
                shutil.copytree(source, staging, ignore=shutil.ignore_patterns(*_GENERATED))
                for command in _BUILD:
                    _run(self.name, command, staging)
                staging.rename(built)  # at the end, so that a build that was interrupted is not used
        return built

    def processes(self, built: Path, *, nats_url: str, postgres_urls: Mapping[str, str], port: int) -> list[Process]:
        """See `Peer.processes`."""
        common = {
            "PATH": os.environ.get("PATH", os.defpath),
            "NODE_ENV": "production",
            "NATS_URL": nats_url,
            "DURABLE": "true" if self.durable else "false",
        }
        own = {
            "users": {"DATABASE_URL": postgres_urls["users"], "JWT_SECRET": JWT_SECRET},
            "payments": {"DATABASE_URL": postgres_urls["payments"]},
            "gateway": {"PORT": str(port), "HTTP_ADAPTER": self.adapter},
        }
        return [
            Process(name, ("node", f"dist/{name}/main.js"), built, common | settings) for name, settings in own.items()
        ]


@dataclass(frozen=True)
class MonolithPeer:
    """The FastAPI application of `bench/peers/fastapi-monolith`, in the environment of this process."""

    name: str = "fastapi-monolith"
    needs_node: bool = False
    databases: tuple[str, ...] = ("monolith",)

    def build(self, folder: Path) -> Path:  # noqa: ARG002 - Python sources run where they are
        """Return the folder of the sources. Raises `PeerNotBuilt` if it does not exist."""
        return _existing(SOURCES / self.name)

    def processes(
        self,
        built: Path,
        *,
        nats_url: str,  # noqa: ARG002 - it has no broker
        postgres_urls: Mapping[str, str],
        port: int,
    ) -> list[Process]:
        """See `Peer.processes`."""
        server = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
        address = ("--host", LOOPBACK, "--port", str(port))
        env = {"DATABASE_URL": postgres_urls["monolith"], "JWT_SECRET": JWT_SECRET}
        return [
            Process("monolith", (sys.executable, "-m", "uvicorn", "monolith.main:app", *address, *server), built, env)
        ]


def peers() -> list[Peer]:
    """Return the peers, in the order of reports."""
    return [
        NestPeer("nestjs-fastify", "fastify"),
        NestPeer("nestjs-express", "express"),
        NestPeer("nestjs-durable-fastify", "fastify", durable=True),
        MonolithPeer(),
    ]


def _existing(source: Path) -> Path:
    if not source.is_dir():
        raise PeerNotBuilt(
            f"{source} does not exist: the peers are built from a checkout, not from the installed wheel"
        )
    return source


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not _GENERATED & set(relative.parts):
            digest.update(f"{relative}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _run(peer: str, command: tuple[str, ...], folder: Path) -> None:
    done = subprocess.run(  # noqa: S603 - a fixed command
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PeerNotBuilt(f"{peer}: `{' '.join(command)}` ended with exit code {done.returncode}:\n{done.stdout}")
