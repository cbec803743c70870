"""The plan of a new service, on a copy of the files that it changes."""

import tomllib
from pathlib import Path

import pytest
import yaml

from mkstore.new.names import NameRefused, Names
from mkstore.new.plan import CannotChange, Plan
from mkstore.new.service import plan_service
from tests.mkstore.new.conftest import contents

INVOICES = Names.of("invoices")


class ComposeLoader(yaml.SafeLoader):
    """Reads the tags of Compose, such as `!reset`, as null."""


ComposeLoader.add_multi_constructor("!", lambda *_: None)


def test_planning_writes_nothing(root: Path) -> None:
    before = contents(root)
    plan_service(root, INVOICES)
    assert contents(root) == before


def test_plan_lists_each_file_once(root: Path) -> None:
    plan = plan_service(root, INVOICES)
    before = contents(root)
    plan.write(root)
    differing = {path for path, text in contents(root).items() if before.get(path) != text}
    assert {line.partition(" ")[2] for line in plan.lines()} == {str(path.relative_to(root)) for path in differing}


def test_new_files_have_no_trace_of_the_template(root: Path) -> None:
    texts = plan_service(root, INVOICES).created
    assert {path for path, text in texts.items() if "{{" in text or "NAME" in text or "NOUN" in text} == set()
    assert {path for path in texts if "NAME" in path or "NOUN" in path or "jinja" in path} == set()


def test_changed_files_can_be_parsed(root: Path) -> None:
    changed = plan_service(root, INVOICES).changed
    assert "invoices" in tomllib.loads(changed["pyproject.toml"])["dependency-groups"]
    for path in ("docker-compose.yml", "docker-compose.prod.yml"):
        parsed = yaml.load(changed[path], ComposeLoader)  # noqa: S506 - a SafeLoader
        assert {"invoices", "invoices-migrations"} <= set(parsed["services"])


def test_second_service_finds_the_same_places(root: Path) -> None:
    plan_service(root, INVOICES).write(root)
    second: Plan = plan_service(root, Names.of("refunds"))
    assert 'ServiceSpec("refunds"' in second.changed["mkstore/services.py"]
    assert 'ServiceSpec("invoices"' in second.changed["mkstore/services.py"]


@pytest.mark.parametrize("path", ["contracts/streams.py", "docker-compose.yml", "deploy/postgres/databases.sh"])
@pytest.mark.parametrize("text", ["", None], ids=["without its anchor", "missing"])
def test_unexpected_file_is_named_and_nothing_changes(root: Path, path: str, text: str | None) -> None:
    (root / path).unlink()
    if text is not None:
        (root / path).write_text(text)
    before = contents(root)
    with pytest.raises(CannotChange, match=rf"^{path} .*nothing was changed\.$"):
        plan_service(root, INVOICES)
    assert contents(root) == before


def test_service_that_exists_is_refused(root: Path) -> None:
    plan_service(root, INVOICES).write(root)
    with pytest.raises(NameRefused, match="apps/invoices exists already"):
        plan_service(root, INVOICES)


@pytest.mark.parametrize(
    ("plural", "singular", "taken"),
    [
        ("members", "user", "user.*"),
        ("cursors", "page", "Page"),
        ("user", "person", "user.*"),  # the stream would answer its requests
        ("subscribers", "users", "contracts/users.py"),
    ],
)
def test_name_of_something_else_is_refused(root: Path, plural: str, singular: str, taken: str) -> None:
    with pytest.raises(NameRefused, match="already: choose another name") as refused:
        plan_service(root, Names.of(plural, singular))
    assert taken in str(refused.value)
