"""`mkstore docs --release`, and the files beside the generated ones."""

import shutil
import subprocess
from pathlib import Path

import pytest

from contract_gate import releases
from contract_gate.references import UnreadableError
from kit.asyncapi.specification import VERSION
from mkstore import generated
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


def test_frozen_release_cannot_be_recorded_again(root: Path, project: Project) -> None:
    project.generates()
    assert project.docs("--release")[0] == 0
    golden = root / "tests/contracts/golden" / VERSION
    golden.mkdir(parents=True)
    (golden / "user.created.json").write_text("{}")
    assert project.docs("--freeze") == (0, f"asyncapi/released/{VERSION}.sha256\n")
    assert project.docs("--freeze")[0] == 0
    assert releases.differences(root, VERSION) == []

    shutil.rmtree(root / "asyncapi/released" / VERSION)
    code, output = project.docs("--release")
    assert (code, output) == (
        1,
        f"{VERSION} is frozen: restore asyncapi/released/{VERSION}, and increase the version instead.\n",
    )
    assert not (root / "asyncapi/released" / VERSION).exists()


def test_changed_files_of_a_frozen_release_are_listed(root: Path, project: Project) -> None:
    project.generates()
    assert project.docs("--release")[0] == 0
    golden = root / "tests/contracts/golden" / VERSION
    golden.mkdir(parents=True)
    (golden / "user.created.json").write_text("{}")
    assert project.docs("--freeze")[0] == 0
    (golden / "user.created.json").write_text('{"body": 1}')
    (golden / "user.updated.json").write_text("{}")
    (root / f"asyncapi/released/{VERSION}/users.json").unlink()
    changed = [
        f"asyncapi/released/{VERSION}/users.json",
        f"tests/contracts/golden/{VERSION}/user.created.json",
        f"tests/contracts/golden/{VERSION}/user.updated.json",
    ]
    assert releases.differences(root, VERSION) == changed
    code, output = project.docs("--freeze")
    assert (code, output) == (1, f"{VERSION} is frozen, and these files differ: {', '.join(changed)}; restore them.\n")


def test_only_a_release_can_be_frozen(project: Project) -> None:
    project.generates()
    assert project.docs("--freeze") == (1, f"{VERSION} is not released: run `mkstore docs --release` first.\n")


def test_hashes_have_the_format_of_sha256sum(root: Path, project: Project) -> None:
    project.generates()
    project.docs("--release")
    project.docs("--freeze")
    check = ["sha256sum", "--check", "--quiet", f"asyncapi/released/{VERSION}.sha256"]
    assert subprocess.run(check, cwd=root, check=False).returncode == 0


def test_our_frozen_releases_are_unchanged() -> None:
    versions = [file.stem for file in (generated.ROOT / releases.FOLDER).glob("*.sha256")]
    assert {version: releases.differences(generated.ROOT, version) for version in versions} == {
        version: [] for version in versions
    }
