"""`mkstore docs --against`: selection of the two sides, output and exit codes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract_gate import gate
from contract_gate.sources import Documents, load
from mkstore import generated
from tests.contract_gate.breaks import BREAKS
from tests.contract_gate.documents import unchanged
from tests.contract_gate.mutating import Mutation
from tests.contract_gate.projects import AFFECTED, BREAK, LOOSER, OTHER, RISK, Project, announce, texts, write


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def test_report_lists_changes_by_severity_with_affected_operations(root: Path, project: Project) -> None:
    write(root / "before")
    project.generates(BREAK, RISK, LOOSER)
    code, output = project.docs("--against", "before")
    assert code == 1
    assert output.startswith("Since before: 1 breaking, 1 risky, 1 safe.\n\nBREAKING\n")
    assert f"  {BREAK.id}\n      is new and required\n      affects: {AFFECTED}\n" in output
    assert f"RISKY\n  {RISK.id}\n" in output
    assert f"SAFE\n  {LOOSER.id}\n" in output
    assert f"- id: '{BREAK.id}'" in output  # ready to copy into announced.yaml

    code, output = project.docs("--against", "before", "--json")
    report = json.loads(output)
    assert (code, report["passes"], report["against"]) == (1, False, "before")
    assert report["changes"][0] == {
        "id": BREAK.id,
        "severity": "breaking",
        "message": "is new and required",
        "affects": [AFFECTED],
        "announced": None,
    }


def test_risky_and_safe_changes_pass(root: Path, project: Project) -> None:
    write(root / "before")
    project.generates(RISK, LOOSER)
    assert project.docs("--against", "before")[0] == 0
    project.generates()
    assert project.docs("--against", "before") == (0, "Since before: no changes.\n")


def test_announced_break_passes_and_shows_its_reason(root: Path, project: Project) -> None:
    write(root / "before")
    project.generates(BREAK, OTHER)
    announce(root, {"id": BREAK.id, "reason": "Names were ambiguous."})
    code, output = project.docs("--against", "before")
    assert code == 1
    assert "1 breaking, 1 breaking, announced" in output
    assert f"{BREAK.id}\n      is new and required\n      affects: {AFFECTED}\n      announced: Names" in output

    announce(root, *({"id": one.id, "reason": "On purpose."} for one in (BREAK, OTHER)))
    assert project.docs("--against", "before")[0] == 0


def test_printed_announcement_can_be_used_with_a_reason(root: Path, project: Project) -> None:
    write(root / "before")
    quoted = next(one for one in BREAKS if "'" not in one.id and '"' in one.id)
    project.generates(BREAK, quoted)
    _, output = project.docs("--against", "before")
    printed = output[output.index("- id: ") :]
    (root / "asyncapi").mkdir()
    (root / "asyncapi/announced.yaml").write_text(printed, "utf-8")
    assert project.docs("--against", "before")[0] == 2  # three dots are not a reason
    (root / "asyncapi/announced.yaml").write_text(printed.replace("...", "On purpose."), "utf-8")
    assert project.docs("--against", "before")[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- id: [", "cannot be read"),
        ("just words", "got 'just words'"),
        ("- id: a", "got {'id': 'a'}"),
        ("- {id: a, reason: ''}", "must be a list of entries"),
        ("- {id: a, reason: b, who: c}", "must be a list of entries"),
        ("- {id: a, reason: b}\n- {id: a, reason: c}", "announces 'a' twice"),
    ],
)
def test_malformed_announcements_are_refused(root: Path, project: Project, text: str, message: str) -> None:
    write(root)
    (root / "asyncapi/announced.yaml").write_text(text, "utf-8")
    project.generates()
    code, output = project.docs("--against", str(root))
    assert (code, message in output) == (2, True)


def test_git_revision_can_be_compared(root: Path, project: Project) -> None:
    git(root, "init", "-q", "-b", "main")
    write(root, LOOSER)
    (root / "asyncapi/announced.yaml").write_text("[]\n", "utf-8")
    generated.write(root, {f"asyncapi/released/0.0.1/{Path(path).name}": text for path, text in texts(OTHER).items()})
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "First")
    git(root, "tag", "v1")
    write(root, BREAK)
    git(root, "commit", "-q", "-a", "-m", "Second")
    project.generates(BREAK)
    assert project.docs("--against", "HEAD") == (0, "Since HEAD: no changes.\n")
    for revision in ("v1", "HEAD~1", "main~1"):
        code, output = project.docs("--against", revision)
        assert code == 1
        assert f"Since {revision}: 2 breaking." in output
        assert BREAK.id in output
    code, output = project.docs("--against", "main:asyncapi")
    assert (code, "nor a git revision" in output) == (2, True)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_file_is_compared_with_the_document_of_the_same_id(root: Path, project: Project, form: str) -> None:
    document = json.loads(texts()["asyncapi/users.json"])
    (root / f"old.{form}").write_text(json.dumps(document) if form == "json" else yaml.safe_dump(document), "utf-8")
    project.generates(BREAK)
    code, output = project.docs("--against", f"old.{form}", "--json")
    report = json.loads(output)
    assert (code, [(change["id"], change["affects"]) for change in report["changes"]]) == (1, [(BREAK.id, [AFFECTED])])

    (root / "old.json").write_text(json.dumps(document | {"id": "urn:mkstore:stock"}), "utf-8")
    code, output = project.docs("--against", "old.json")
    assert code == 2
    assert "There is no document urn:mkstore:stock here; the documents are mkstore, urn:mkstore:gateway" in output


def test_openapi_file_can_be_compared(root: Path, project: Project) -> None:
    (root / "http.json").write_text(texts()["openapi/gateway.json"], "utf-8")
    project.generates(BREAK, next(one for one in BREAKS if one.name == "a status is removed"))
    code, output = project.docs("--against", "http.json")
    assert code == 1
    assert "Since http.json: 1 breaking." in output
    assert "affects: HTTP clients" in output


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nonsense", None, "nonsense is neither a file nor a folder nor a git revision."),
        ("-x", None, "-x is neither a file"),
        ("broken.json", "{", "broken.json is neither JSON nor YAML"),
        ("broken.yaml", "a: [", "broken.yaml is neither JSON nor YAML"),
        ("list.json", "[]", "list.json is not a document: its content is not an object."),
        ("other.json", "{}", "other.json contains no AsyncAPI or OpenAPI document."),
        ("two.yaml", "asyncapi: 2.6.0", "two.yaml is asyncapi 2.6.0; only version 3 is supported."),
        ("flat.yaml", "asyncapi: 3.0.0\noperations: [1]", "flat.yaml is malformed: its operations are not objects."),
        ("lost.yaml", "asyncapi: 3.0.0\noperations: {a: {}}", "the operation a has no channel."),
        ("latin.json", b'{"a": "\xe4"}', "latin.json cannot be read"),
        ("folder", None, "folder contains no AsyncAPI or OpenAPI document."),
        ("release", None, "No release: asyncapi/released contains no version."),
    ],
)
def test_unreadable_source_ends_with_a_clear_error(
    root: Path, project: Project, name: str, text: str | bytes | None, message: str
) -> None:
    project.generates()
    if name == "folder":
        (root / name).mkdir()
    elif text is not None:
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    code, output = project.docs(f"--against={name}")
    assert (code, message in output.replace("\n", " ")) == (2, True)


def test_broken_reference_ends_with_a_clear_error(root: Path, project: Project) -> None:
    document = json.loads(texts()["asyncapi/users.json"])
    del document["components"]["schemas"]["UserView"]
    (root / "old.json").write_text(json.dumps(document), "utf-8")
    project.generates()
    assert project.docs("--against", "old.json") == (
        2,
        "The reference #/components/schemas/UserView cannot be resolved.\n",
    )


@pytest.mark.parametrize("options", [("--check", "--release"), ("--check", "--against", "a"), ("--json",)])
def test_exclusive_options_are_refused(project: Project, options: tuple[str, ...]) -> None:
    assert project.docs(*options)[0] == 2


def test_merged_document_is_compared_only_on_request(root: Path, project: Project) -> None:
    def whole(*mutations: Mutation) -> dict[str, str]:
        files = texts(*mutations)
        merged: dict[str, Any] = {}
        for document in (json.loads(text) for path, text in files.items() if path.startswith("asyncapi/")):
            merged = document | {"operations": merged.get("operations", {}) | document["operations"]}
        return files | {"asyncapi/mkstore.json": json.dumps(merged | {"id": "urn:mkstore"})}

    generated.write(root, whole())
    assert len(load(root, str(root)).events) == len(unchanged().events)
    project.generates_files(whole(BREAK))
    for against in (".", "asyncapi/mkstore.json"):
        code, output = project.docs("--against", against)
        assert (code, output.count(f"  {BREAK.id}\n")) == (1, 1)
        assert f"affects: {AFFECTED}\n" in output


def test_removed_http_api_breaks_its_clients() -> None:
    changes = gate.compare(unchanged(), Documents(unchanged().events, []))
    removed = {change.id for change in changes if change.code == "operation-removed"}
    assert removed >= {"POST /users: operation-removed", "GET /users/{user_id}: operation-removed"}
