"""Upgrades several databases in one process, which imports Alembic and SQLAlchemy once: a second of CPU each."""

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from mkstore.services import ServiceSpec

_JOBS = "MKSTORE_UPGRADES"
"""The variable with the jobs. An argument would show the passwords to every user of the machine."""


def command() -> list[str]:
    """Return the command that starts this program."""
    return [sys.executable, "-m", "mkstore.stack.upgrade"]


def environment(work: Sequence[tuple[ServiceSpec, Mapping[str, str], Path]]) -> dict[str, str]:
    """Return the environment for this program to upgrade these services, each with its environment and log."""
    first = work[0][1]
    jobs = [
        {
            "configuration": str(spec.migrations),
            "root": str(spec.root),
            "log": str(log.resolve()),
            "environment": {name: env.get(name) for name in {*first, *env} if first.get(name) != env.get(name)},
        }
        for spec, env, log in work
    ]
    return {**first, _JOBS: json.dumps(jobs)}


def main() -> None:
    """Upgrade each database to its newest revision; exit with the position of the first that fails, from 1."""
    jobs = json.loads(os.environ.pop(_JOBS))
    first = dict(os.environ)
    for position, job in enumerate(jobs, 1):
        os.environ.clear()
        merged = {**first, **job["environment"]}
        os.environ.update({name: value for name, value in merged.items() if value is not None})
        with Path(job["log"]).open("ab") as output:
            os.dup2(output.fileno(), sys.stdout.fileno())
            os.dup2(output.fileno(), sys.stderr.fileno())
        sys.path.insert(0, job["root"])
        try:
            _upgrade(job["configuration"])
        except BaseException:  # noqa: BLE001 - invalid settings raise SystemExit
            traceback.print_exc()
            sys.exit(position)


def _upgrade(configuration: str) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, and `mkstore up` imports this module
    from alembic.config import Config  # noqa: PLC0415

    command.upgrade(Config(configuration), "head")


if __name__ == "__main__":
    main()
