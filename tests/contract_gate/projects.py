"""A project with generated documents of the test's choice, and the command run on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from mkstore import generated
from mkstore.cli.main import app
from tests.contract_gate.breaks import BREAKS
from tests.contract_gate.documents import system
from tests.contract_gate.harmless import RISKY, SAFE
from tests.contract_gate.mutating import Mutation

BREAK = next(one for one in BREAKS if one.name == "a new required field in a request")
OTHER = next(one for one in BREAKS if one.name == "a field of an event is removed")
LOOSER = next(one for one in SAFE if one.name == "a longer text in a request")
RISK = next(one for one in RISKY if one.name == "another default")
AFFECTED = "gateway.requests.CreateUser"

Generate = Callable[..., None]


def texts(*mutations: Mutation) -> dict[str, str]:
    """Return the files of the system under the generator's names."""
    documents = system()
    for mutation in mutations:
        mutation.mutate(documents)
    found = {f"asyncapi/{one['id'].rpartition(':')[2]}.json": json.dumps(one) for one in documents.events}
    return found | {"openapi/gateway.json": json.dumps(documents.http[0])}


def write(folder: Path, *mutations: Mutation) -> None:
    generated.write(folder, texts(*mutations))


def mkstore(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ("docs", *arguments))
    return done.exit_code, done.output


def announce(root: Path, *entries: Any) -> None:
    (root / "asyncapi").mkdir(exist_ok=True)
    (root / "asyncapi/announced.yaml").write_text(yaml.safe_dump(list(entries)), "utf-8")
