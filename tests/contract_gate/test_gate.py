"""`mkstore docs --against`: what is compared with what, what it prints, and how it ends."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract_gate import gate
from contract_gate.sources import Documents, load
from mkstore import generated
from mkstore.cli import docs
from tests.contract_gate.breaks import BREAKS
from tests.contract_gate.documents import system
from tests.contract_gate.mutating import Mutation
from tests.contract_gate.projects import BREAK, HIT, LOOSER, OTHER, RISK, Say, announce, keep, mkstore, texts


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def test_the_report_names_breaks_risks_and_safe_changes_and_whom_they_hit(root: Path, says: Say) -> None:
    keep(root / "before")
    says(BREAK, RISK, LOOSER)
    code, output = mkstore("--against", "before")
    assert code == 1
    assert output.startswith("Since before: 1 breaking, 1 risky, 1 safe.\n\nBREAKING\n")
    assert f"  {BREAK.id}\n      is new, and must be there from now on\n      hits: {HIT}\n" in output
    assert f"RISKY\n  {RISK.id}\n" in output
    assert f"SAFE\n  {LOOSER.id}\n" in output
    assert f"- id: '{BREAK.id}'" in output  # to be copied

    code, output = mkstore("--against", "before", "--json")
    found = json.loads(output)
    assert (code, found["passes"], found["against"]) == (1, False, "before")
    assert found["changes"][0] == {
        "id": BREAK.id,
        "severity": "breaking",
        "sentence": "is new, and must be there from now on",
        "hits": [HIT],
        "announced": None,
    }


def test_what_is_only_risky_or_safe_passes(root: Path, says: Say) -> None:
    keep(root / "before")
    says(RISK, LOOSER)
    assert mkstore("--against", "before")[0] == 0
    says()
    assert mkstore("--against", "before") == (0, "Since before: no change.\n")


def test_an_announced_break_is_shown_with_its_reason_and_passes(root: Path, says: Say) -> None:
    keep(root / "before")
    says(BREAK, OTHER)
    announce(root, {"id": BREAK.id, "reason": "Nobody could be told apart."})
    code, output = mkstore("--against", "before")
    assert code == 1
    assert "1 breaking, 1 breaking, as announced" in output
    assert (
        f"{BREAK.id}\n      is new, and must be there from now on\n      hits: {HIT}\n      announced: Nobody" in output
    )

    announce(root, *({"id": one.id, "reason": "Meant."} for one in (BREAK, OTHER)))
    assert mkstore("--against", "before")[0] == 0


def test_the_text_that_is_printed_can_be_announced_as_it_is(root: Path, says: Say) -> None:
    keep(root / "before")
    quoted = next(one for one in BREAKS if "'" not in one.id and '"' in one.id)
    says(BREAK, quoted)
    _, output = mkstore("--against", "before")
    printed = output[output.index("- id: ") :]
    (root / "asyncapi").mkdir()
    (root / "asyncapi/announced.yaml").write_text(printed, "utf-8")
    assert mkstore("--against", "before")[0] == 2  # three dots are no reason
    (root / "asyncapi/announced.yaml").write_text(printed.replace("...", "Meant."), "utf-8")
    assert mkstore("--against", "before")[0] == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- id: [", "cannot be read"),
        ("just words", "'just words' is none"),
        ("- id: a", "is none"),
        ("- {id: a, reason: ''}", "is none"),
        ("- {id: a, reason: b, who: c}", "is none"),
        ("- {id: a, reason: b}\n- {id: a, reason: c}", "announces 'a' twice"),
    ],
)
def test_announcements_that_are_none_are_refused(root: Path, says: Say, text: str, sentence: str) -> None:
    keep(root)
    (root / "asyncapi/announced.yaml").write_text(text, "utf-8")
    says()
    code, output = mkstore("--against", str(root))
    assert (code, sentence in output) == (2, True)


def test_a_revision_of_git_is_compared(root: Path, says: Say) -> None:
    git(root, "init", "-q", "-b", "main")
    keep(root, LOOSER)
    (root / "asyncapi/announced.yaml").write_text("[]\n", "utf-8")
    generated.write(root, {f"asyncapi/released/0.0.1/{Path(path).name}": text for path, text in texts(OTHER).items()})
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "First")
    git(root, "tag", "v1")
    keep(root, BREAK)
    git(root, "commit", "-q", "-a", "-m", "Second")
    says(BREAK)
    assert mkstore("--against", "HEAD") == (0, "Since HEAD: no change.\n")
    for revision in ("v1", "HEAD~1", "main~1"):
        code, output = mkstore("--against", revision)
        assert code == 1
        assert f"Since {revision}: 2 breaking." in output
        assert BREAK.id in output
    code, output = mkstore("--against", "main:asyncapi")
    assert (code, "no revision that git knows" in output) == (2, True)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_file_is_compared_with_the_document_of_its_id(root: Path, says: Say, form: str) -> None:
    said = json.loads(texts()["asyncapi/users.json"])
    (root / f"old.{form}").write_text(json.dumps(said) if form == "json" else yaml.safe_dump(said), "utf-8")
    says(BREAK)
    code, output = mkstore("--against", f"old.{form}", "--json")
    found = json.loads(output)
    assert (code, [(change["id"], change["hits"]) for change in found["changes"]]) == (1, [(BREAK.id, [HIT])])

    (root / "old.json").write_text(json.dumps(said | {"id": "urn:mkstore:stock"}), "utf-8")
    code, output = mkstore("--against", "old.json")
    assert code == 2
    assert "Nothing here is called urn:mkstore:stock; there are mkstore, urn:mkstore:gateway" in output


def test_a_file_of_the_http_api_is_compared(root: Path, says: Say) -> None:
    (root / "http.json").write_text(texts()["openapi/gateway.json"], "utf-8")
    says(BREAK, next(one for one in BREAKS if one.name == "a status is gone"))
    code, output = mkstore("--against", "http.json")
    assert code == 1
    assert "Since http.json: 1 breaking." in output
    assert "hits: HTTP clients" in output


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("nonsense", None, "nonsense is no file, no folder and no revision that git knows here."),
        ("-x", None, "-x is no file"),
        ("broken.json", "{", "broken.json is neither JSON nor YAML"),
        ("broken.yaml", "a: [", "broken.yaml is neither JSON nor YAML"),
        ("list.json", "[]", "list.json is no document: it holds no object."),
        ("other.json", "{}", "other.json holds no AsyncAPI and no OpenAPI document."),
        ("two.yaml", "asyncapi: 2.6.0", "two.yaml is written in asyncapi 2.6.0; only version 3 can be compared."),
        ("flat.yaml", "asyncapi: 3.0.0\noperations: [1]", "flat.yaml is not formed as asyncapi says"),
        ("lost.yaml", "asyncapi: 3.0.0\noperations: {a: {}}", "the operation a has no channel."),
        ("latin.json", b'{"a": "\xe4"}', "latin.json cannot be read"),
        ("folder", None, "folder holds no AsyncAPI and no OpenAPI document."),
        ("release", None, "Nothing is released: asyncapi/released holds no version."),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(
    root: Path, says: Say, name: str, text: str | bytes | None, sentence: str
) -> None:
    says()
    if name == "folder":
        (root / name).mkdir()
    elif text is not None:
        (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    code, output = mkstore(f"--against={name}")
    assert (code, sentence in output.replace("\n", " ")) == (2, True)


def test_a_reference_that_leads_nowhere_is_said_in_a_sentence(root: Path, says: Say) -> None:
    said = json.loads(texts()["asyncapi/users.json"])
    del said["components"]["schemas"]["UserView"]
    (root / "old.json").write_text(json.dumps(said), "utf-8")
    says()
    assert mkstore("--against", "old.json") == (2, "The reference #/components/schemas/UserView leads nowhere.\n")


@pytest.mark.parametrize("options", [("--check", "--release"), ("--check", "--against", "a"), ("--json",)])
def test_options_that_exclude_each_other_are_refused(options: tuple[str, ...]) -> None:
    assert mkstore(*options)[0] == 2


def test_a_merged_document_is_compared_only_where_it_is_asked_for(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def whole(*mutations: Mutation) -> dict[str, str]:
        files = texts(*mutations)
        merged: dict[str, Any] = {}
        for document in (json.loads(text) for path, text in files.items() if path.startswith("asyncapi/")):
            merged = document | {"operations": merged.get("operations", {}) | document["operations"]}
        return files | {"asyncapi/mkstore.json": json.dumps(merged | {"id": "urn:mkstore"})}

    generated.write(root, whole())
    assert len(load(root, str(root)).events) == len(system().events)
    monkeypatch.setattr(docs, "documents", lambda _: whole(BREAK))
    for against in (".", "asyncapi/mkstore.json"):
        code, output = mkstore("--against", against)
        assert (code, output.count(f"  {BREAK.id}\n")) == (1, 1)
        assert f"hits: {HIT}\n" in output


def test_an_http_api_that_is_gone_breaks_its_clients() -> None:
    found = gate.compare(system(), Documents(system().events, []))
    gone = {change.id for change in found if change.code == "operation-removed"}
    assert gone >= {"POST /users: operation-removed", "GET /users/{user_id}: operation-removed"}
