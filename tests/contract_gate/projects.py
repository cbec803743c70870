"""A project with generated documents of the test's choice, and `mkstore docs` run on it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.testing import CliRunner

from mkstore import generated
from mkstore.cli.docs import command
from tests.contract_gate.breaks import BREAKS
from tests.contract_gate.documents import system
from tests.contract_gate.harmless import RISKY, SAFE
from tests.contract_gate.mutating import Mutation

BREAK = next(one for one in BREAKS if one.name == "a new required field in a request")
OTHER = next(one for one in BREAKS if one.name == "a field of an event is removed")
LOOSER = next(one for one in SAFE if one.name == "a longer text in a request")
RISK = next(one for one in RISKY if one.name == "another default")
AFFECTED = "gateway.requests.CreateUser"


def texts(*mutations: Mutation) -> dict[str, str]:
    """Return the files of the system under the generator's names."""
    documents = system()
    for mutation in mutations:
        mutation.mutate(documents)
    files = {f"asyncapi/{one['id'].rpartition(':')[2]}.json": json.dumps(one) for one in documents.events}
    return files | {"openapi/gateway.json": json.dumps(documents.http[0])}


def write(folder: Path, *mutations: Mutation) -> None:
    generated.write(folder, texts(*mutations))


class Project:
    """A folder with documents, and the texts that its code generates."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: Mapping[str, str] = texts()

    def generates(self, *mutations: Mutation) -> None:
        """Let the code generate the documents of the mutated system."""
        self.generates_files(texts(*mutations))

    def generates_files(self, files: Mapping[str, str]) -> None:
        """Let the code generate these texts by path."""
        self._files = files

    def docs(self, *arguments: str) -> tuple[int, str]:
        """Run `mkstore docs`; return its exit code and its output."""
        app = typer.Typer()
        app.command()(command(root=self._root, build=lambda _: self._files))
        done = CliRunner().invoke(app, arguments)
        return done.exit_code, done.output


def announce(root: Path, *entries: Any) -> None:
    (root / "asyncapi").mkdir(exist_ok=True)
    (root / "asyncapi/announced.yaml").write_text(yaml.safe_dump(list(entries)), "utf-8")
