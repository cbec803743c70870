"""`mkstore docs --release`, and the files beside the generated ones."""

from pathlib import Path

import pytest

from contract_gate import releases
from contract_gate.references import UnreadableError
from kit.asyncapi.specification import VERSION
from tests.contract_gate.projects import BREAK, LOOSER, Project, announce, texts, write


def test_release_is_recorded_once_and_immutable(root: Path, project: Project) -> None:
    project.generates()
    code, output = project.docs("--release")
    paths = [f"asyncapi/released/{VERSION}/{name}.json" for name in ("users", "payments", "gateway", "openapi-gateway")]
    assert (code, sorted(output.split())) == (0, sorted(paths))
    assert all((root / path).read_bytes() for path in paths)
    assert project.docs("--release") == (0, f"{VERSION} is already released with the same documents.\n")

    project.generates(LOOSER)
    before = {path: (root / path).read_bytes() for path in paths}
    code, output = project.docs("--release")
    assert (code, {path: (root / path).read_bytes() for path in paths}) == (1, before)
    assert f"asyncapi/released/{VERSION} is released and immutable" in output
    assert project.docs("--against", "release")[0] == 0


def test_newest_release_has_the_highest_version(root: Path) -> None:
    for version in ("0.9.0", "0.10.0", "0.2.0"):
        releases.record(root, version, {"users.json": texts()["asyncapi/users.json"]})
    newest = releases.newest(root)
    assert newest is not None
    assert newest.name == "0.10.0"
    (root / "asyncapi/released/next").mkdir()
    with pytest.raises(UnreadableError, match="next is not a version number"):
        releases.newest(root)


def test_generator_keeps_announcements_and_releases(root: Path, project: Project) -> None:
    project.generates()
    announce(root)
    project.docs("--release")
    (root / "openapi").mkdir()
    (root / "openapi/old.json").write_text("{}", "utf-8")
    project.docs()
    assert project.docs("--check") == (0, "")
    assert (root / "asyncapi/announced.yaml").exists()
    assert (root / f"asyncapi/released/{VERSION}/users.json").exists()
    assert not (root / "openapi/old.json").exists()


def test_stale_announcement_fails_only_against_the_release(root: Path, project: Project) -> None:
    project.generates()
    assert project.docs("--release")[0] == 0
    announce(root, {"id": BREAK.id, "reason": "On purpose."})
    code, output = project.docs("--against", "release")
    assert code == 1
    assert f"asyncapi/announced.yaml announces '{BREAK.id}', which is not a breaking change since release" in output
    write(root / "before")
    assert project.docs("--against", "before")[0] == 0
