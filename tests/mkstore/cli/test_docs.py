"""`mkstore docs`: documents depend on the code alone, and on nothing in the environment."""

import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from typer.testing import CliRunner

from kit.asyncapi.specification import VERSION
from mkstore import generated
from mkstore.cli import docs
from mkstore.documents import PATTERNS, WHOLE, documents
from mkstore.services import SERVICES, ServiceSpec

HERE = Path(__file__).parents[1]
FAKES = HERE / "fakes"
ANSWERS = ServiceSpec("answers", "documented:app", root=FAKES)
DOCUMENTS = [WHOLE, *(spec.name for spec in SERVICES)]
FILES = ["asyncapi/answers.json", "asyncapi/answers.yaml"]


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads(gzip.decompress((HERE / "asyncapi_schema/3.0.0.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    """The files of the small service."""
    return documents([ANSWERS])


class Project:
    """A project without documents yet; those of its services are `files`, or built from their code."""

    def __init__(self, root: Path, *services: ServiceSpec, files: dict[str, str] | None = None) -> None:
        self.root = root
        self._app = typer.Typer()
        self._app.command()(docs.command(services, root, None if files is None else lambda _: files))

    def docs(self, *options: str) -> tuple[int, str]:
        """Run `mkstore docs`; return its exit code and output."""
        done = CliRunner().invoke(self._app, options)
        return done.exit_code, done.output

    def files(self) -> dict[str, bytes]:
        """Return the content of every file by its path."""
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}


def test_committed_documents_match_the_code() -> None:
    assert generated.differences(generated.ROOT, documents(SERVICES), patterns=PATTERNS) == []


@pytest.mark.parametrize("service", DOCUMENTS)
def test_committed_document_is_valid_and_equal_in_json_and_yaml(service: str, schema: Any) -> None:
    text = (generated.ROOT / f"asyncapi/{service}.json").read_text("utf-8")
    document = json.loads(text)
    jsonschema.Draft7Validator(schema).validate(document)
    assert document["operations"]
    text = (generated.ROOT / f"asyncapi/{service}.yaml").read_text("utf-8")
    assert yaml.load(text, Loader=yaml.CSafeLoader) == document  # ten times as fast as the loader in Python


def test_schema_rejects_an_invalid_action(schema: Any, answers: dict[str, str]) -> None:
    document = json.loads(answers[FILES[0]])
    next(iter(document["operations"].values()))["action"] = "shout"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(document)


def test_documents_ignore_the_environment_and_keep_one_order(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, str]
) -> None:
    monkeypatch.setenv("NATS_URL", "nats://ada:secret@nats.example:4222")
    monkeypatch.setenv("APP_ENV", "production")
    assert documents([ANSWERS]) == answers
    assert list(answers) == FILES
    assert "°" in answers[FILES[0]]
    channels = list(json.loads(answers[FILES[0]])["channels"])
    assert channels == sorted(channels)
    assert len(channels) == 60  # one per request, and one for its replies


def test_check_lists_changed_files_and_writes_nothing(tmp_path: Path, answers: dict[str, str]) -> None:
    project = Project(tmp_path, ANSWERS, files=answers)
    code, output = project.docs("--check")
    assert (code, project.files()) == (1, {})
    assert all(f"{file} is missing" in output for file in FILES)

    assert project.docs() == (0, "\n".join(FILES) + "\n")
    assert project.docs("--check") == (0, "")

    (tmp_path / FILES[0]).write_text("{}", "utf-8")
    (tmp_path / FILES[1]).unlink()
    (tmp_path / "asyncapi/gone.yaml").write_text("asyncapi: 3.0.0", "utf-8")
    before = project.files()
    code, output = project.docs("--check")
    assert (code, project.files()) == (1, before)
    assert f"{FILES[0]} is different" in output
    assert f"{FILES[1]} is missing" in output
    assert "asyncapi/gone.yaml is superfluous" in output

    project.docs()
    assert sorted(project.files()) == FILES
    assert project.docs("--check") == (0, "")


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("absent:app", "No module named 'absent'"),
        ("documented:duplicate", r"Question1"),
        ("documented:unregistered", "was not registered by a router verb"),
    ],
)
def test_service_that_cannot_be_documented_is_named_with_the_reason(tmp_path: Path, app: str, reason: str) -> None:
    with pytest.raises(generated.NotDocumented, match=f"The documents of broken cannot be built: (.|\n)*{reason}"):
        documents([ServiceSpec("broken", app, root=FAKES)])


def test_nothing_is_written_when_one_service_fails(tmp_path: Path) -> None:
    project = Project(tmp_path, ANSWERS, ServiceSpec("broken", "absent:app", root=FAKES))
    code, output = project.docs()
    assert (code, project.files()) == (1, {})
    assert "The documents of broken cannot be built" in output


def test_documents_have_the_version_of_the_project() -> None:
    with (generated.ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == VERSION
    kept = [json.loads(file.read_text("utf-8")) for file in (generated.ROOT / "asyncapi").glob("*.json")]
    assert {document["info"]["version"] for document in kept} == {VERSION}
