"""Committed documents that are older than the code are found before a service starts, and cheaply."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from mkstore.outdated import outdated
from mkstore.services import ServiceSpec
from mkstore.stack.console import run
from mkstore.stack.plan import Options

FAKES = Path(__file__).parent / "fakes"
SPECS = [ServiceSpec("users", "fake_service:app", root=FAKES), ServiceSpec("payments", "fake_service:app", root=FAKES)]


class Code:
    """The documents of some code, and how often they were built."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, dict[str, Any]]] = {
            "users": {"operations": {"users.replies.GetUsers": {}}},
            "payments": {"operations": {}},
        }
        self.builds = 0

    def build(self, specs: Sequence[ServiceSpec]) -> Mapping[str, Mapping[str, Any]]:
        self.builds += 1
        return {spec.name: self.documents[spec.name] for spec in specs}


@pytest.fixture
def code() -> Code:
    return Code()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project whose documents are those of `code`."""
    for folder in ("apps/users", "asyncapi"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "apps/users/requests.py").write_text("# the code\n")
    (tmp_path / "asyncapi/users.json").write_text('{"operations": {"users.replies.GetUsers": {}}}')
    (tmp_path / "asyncapi/payments.json").write_text('{"operations": {}}')
    return tmp_path


def test_documents_of_unchanged_code_are_built_once(root: Path, code: Code) -> None:
    assert [outdated(SPECS, root, code.build) for _ in range(3)] == [[], [], []]
    assert code.builds == 1


def test_changed_code_with_the_same_documents_is_good(root: Path, code: Code) -> None:
    outdated(SPECS, root, code.build)
    (root / "apps/users/requests.py").write_text("# the code, with another comment\n")
    assert outdated(SPECS, root, code.build) == []
    assert code.builds == 2


def test_new_handler_is_found_until_its_document_lists_it(root: Path, code: Code) -> None:
    outdated(SPECS, root, code.build)
    (root / "apps/users/requests.py").write_text("# the code, with a new handler\n")
    code.documents["users"]["operations"]["users.consumes.PaymentCreated"] = {}
    assert [outdated(SPECS, root, code.build) for _ in range(2)] == [["asyncapi/users.json"]] * 2


@pytest.mark.parametrize("content", [None, "{"])
def test_missing_or_damaged_document_is_outdated(root: Path, code: Code, content: str | None) -> None:
    document = root / "asyncapi/payments.json"
    document.unlink() if content is None else document.write_text(content)
    assert outdated(SPECS, root, code.build) == ["asyncapi/payments.json"]


def test_start_with_outdated_documents_fails_with_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(0, tmp_path, ephemeral=False, workers=1)
    assert run(options, SPECS, outdated=lambda _: ["asyncapi/users.json"]) == 1
    output = capsys.readouterr().out
    assert "could not start: asyncapi/users.json is older than the code; run `mkstore docs`.\n" in output
    assert "starting users" not in output
