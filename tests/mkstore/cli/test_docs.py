"""`mkstore docs`: the documents are the code's, whoever writes them and wherever."""

import gzip
import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from kit.asyncapi import VERSION
from mkstore import generated
from mkstore.cli import docs
from mkstore.cli.docs import NotDocumentedError, documents
from mkstore.cli.main import app
from mkstore.stack.service_process import SERVICES, ServiceSpec

HERE = Path(__file__).parents[1]
STANDINS = HERE / "standins"
ANSWERS = ServiceSpec("answers", "documented:app", root=STANDINS)
DOCUMENTS = [docs.WHOLE, *(spec.name for spec in SERVICES)]
FILES = ["asyncapi/answers.json", "asyncapi/answers.yaml"]


@pytest.fixture(scope="module")
def schema() -> Any:
    return json.loads(gzip.decompress((HERE / "asyncapi_schema/3.0.0.json.gz").read_bytes()))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one small service, nothing of which is documented yet."""
    monkeypatch.setattr(generated, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "SERVICES", [ANSWERS])
    return tmp_path


def mkstore(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, arguments)
    return done.exit_code, done.output


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_the_committed_documents_are_what_the_code_says() -> None:
    assert generated.differences(generated.ROOT, documents(SERVICES), kept_clean=docs.PATTERN) == []


@pytest.mark.parametrize("service", DOCUMENTS)
def test_a_committed_document_is_valid_and_the_same_in_both_forms(service: str, schema: Any) -> None:
    text = (generated.ROOT / f"asyncapi/{service}.json").read_text("utf-8")
    document = json.loads(text)
    jsonschema.Draft7Validator(schema).validate(document)
    assert document["operations"]
    assert yaml.safe_load((generated.ROOT / f"asyncapi/{service}.yaml").read_text("utf-8")) == document


def test_the_schema_would_find_a_fault(schema: Any) -> None:
    document = json.loads(documents([ANSWERS])[FILES[0]])
    document["operations"]["answers.replies.Question0"]["action"] = "shout"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(document)


def test_the_environment_says_nothing_and_the_order_is_always_one(monkeypatch: pytest.MonkeyPatch) -> None:
    first = documents([ANSWERS])
    monkeypatch.setenv("NATS_URL", "nats://ada:secret@nats.example:4222")
    monkeypatch.setenv("APP_ENV", "production")
    assert all(documents([ANSWERS]) == first for _ in range(3))
    assert list(first) == FILES
    assert "°" in first[FILES[0]]
    channels = list(json.loads(first[FILES[0]])["channels"])
    assert channels == sorted(channels)
    assert len(channels) == 60  # each question's, and that of the replies to it


def test_what_is_written_is_checked_and_the_check_writes_nothing(root: Path) -> None:
    code, output = mkstore("docs", "--check")
    assert (code, snapshot(root)) == (1, {})
    assert all(f"{file} is missing" in output for file in FILES)

    assert mkstore("docs") == (0, "\n".join(FILES) + "\n")
    assert mkstore("docs", "--check") == (0, "")

    (root / FILES[0]).write_text("{}", "utf-8")
    (root / FILES[1]).unlink()
    (root / "asyncapi/gone.yaml").write_text("asyncapi: 3.0.0", "utf-8")
    before = snapshot(root)
    code, output = mkstore("docs", "--check")
    assert (code, snapshot(root)) == (1, before)
    assert f"{FILES[0]} is different" in output
    assert f"{FILES[1]} is missing" in output
    assert "asyncapi/gone.yaml is superfluous" in output

    mkstore("docs")
    assert sorted(snapshot(root)) == FILES
    assert mkstore("docs", "--check") == (0, "")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("absent:app", "No module named 'absent'"),
        ("documented:twice", r"the same name: answers\.replies\.Question1"),
        ("documented:stranger", "which is no request, command or event"),
    ],
)
def test_a_service_without_a_document_is_named_with_the_reason(
    root: Path, monkeypatch: pytest.MonkeyPatch, broken: str, reason: str
) -> None:
    spec = ServiceSpec("broken", broken, root=STANDINS)
    with pytest.raises(NotDocumentedError, match=reason):
        documents([spec])
    monkeypatch.setattr(docs, "SERVICES", [ANSWERS, spec])
    code, output = mkstore("docs")
    assert (code, snapshot(root)) == (1, {})
    assert "There is no document of broken" in output


def test_the_documents_bear_the_projects_version() -> None:
    with (generated.ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == VERSION
    kept = [json.loads(file.read_text("utf-8")) for file in (generated.ROOT / "asyncapi").glob("*.json")]
    assert {document["info"]["version"] for document in kept} == {VERSION}
