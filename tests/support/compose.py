"""Runs Docker Compose on the project's files."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

COMPOSE = str(Path(sys.executable).with_name("docker-compose"))
DEVELOPMENT = ("docker-compose.yml",)
PRODUCTION = ("docker-compose.prod.yml",)


def compose(files: tuple[str, ...], env: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Compose command on `files` with the environment `env`."""
    return subprocess.run(
        [COMPOSE, "--env-file", os.devnull, *(argument for file in files for argument in ("--file", file)), *command],
        cwd=ROOT,
        env={"PATH": os.defpath, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def config(files: tuple[str, ...] = DEVELOPMENT, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the configuration that Compose resolves from `files`; fails with its error."""
    done = compose(files, env or {}, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    model: dict[str, Any] = json.loads(done.stdout)
    return model


def environment_of(model: Mapping[str, Any], service: str) -> dict[str, str]:
    """Return the environment of a service, without unset variables."""
    return {name: value for name, value in model["services"][service]["environment"].items() if value is not None}
