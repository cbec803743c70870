"""The machine and the versions of everything that a benchmark depends on."""

import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from mkstore.generated import ROOT
from mkstore.stack.servers.accounts import postgres_program
from mkstore.stack.servers.nats import nats_server_program

_PACKAGES = ("fastapi", "uvicorn", "uvloop", "faststream", "nats-py", "pydantic", "asyncpg", "sqlalchemy")
_NPM_PACKAGES = (
    "@nestjs/core",
    "@nestjs/microservices",
    "@nestjs/platform-fastify",
    "typeorm",
    "pg",
    "class-validator",
)


def machine() -> dict[str, str]:
    """Return the date, the commit, the machine and the versions, each as text."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _output(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]) or "unknown",
        "processors": f"{os.cpu_count()} cores of {_processor()}",
        "memory": _memory(),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "nats-server": _output([nats_server_program(), "--version"]),
        "PostgreSQL": _output([postgres_program("postgres"), "--version"]),
        "wrk": (_output(["wrk", "-v"]).split() or ["none"])[1],
        "Node.js": _output(["node", "--version"]) if shutil.which("node") else "none",
        **{name: version(name) for name in _PACKAGES},
        **_npm_packages(),
    }


def _npm_packages() -> dict[str, str]:
    """Return the versions that the NestJS peers declare, which are exact; empty without their sources."""
    file = ROOT / "bench/peers/nestjs/package.json"
    declared: dict[str, str] = json.loads(file.read_text())["dependencies"] if file.exists() else {}
    return {name: declared[name] for name in _NPM_PACKAGES if name in declared}


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed commands
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else ""


def _processor() -> str:
    if (file := Path("/proc/cpuinfo")).exists() and (match := re.search(r"model name\s*: (.+)", file.read_text())):
        return match[1]
    return platform.processor() or platform.machine()


def _memory() -> str:
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / (1 << 30):.0f} GiB"
