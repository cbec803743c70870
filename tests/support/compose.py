"""What Compose makes of our files."""

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
PRODUCTION = ("docker-compose.yml", "deploy/compose.production.yml")


def compose(files: tuple[str, ...], env: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """Run a Compose command on `files`, in an environment that says nothing but `env`."""
    return subprocess.run(
        [COMPOSE, "--env-file", os.devnull, *(part for file in files for part in ("--file", file)), *command],
        cwd=ROOT,
        env={"PATH": os.defpath, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def config(files: tuple[str, ...] = DEVELOPMENT, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the whole of `files` as Compose understands it; fails with what it refuses."""
    done = compose(files, env or {}, "config", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    model: dict[str, Any] = json.loads(done.stdout)
    return model


def environment_of(model: Mapping[str, Any], service: str) -> dict[str, str]:
    """Return what a service's process is given; what nobody set is not there."""
    return {name: value for name, value in model["services"][service]["environment"].items() if value is not None}
