"""The plan of a new request, on a copy of the files that it changes."""

import ast
import json
from pathlib import Path

import pytest

from mkstore.new.names import NameRefused
from mkstore.new.plan import CannotChange
from mkstore.new.request import plan_request
from tests.mkstore.new.conftest import contents

GOLDEN = "tests/contracts/golden/0.1.0"


def bases(text: str) -> dict[str, list[str]]:
    """Return the base classes of each class of a module."""
    classes = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    return {node.name: [ast.unparse(base) for base in node.bases] for node in classes}


def test_plan_lists_each_file_once_and_writes_none(root: Path) -> None:
    before = contents(root)
    assert list(plan_request(root, "users", "CountUsers", "UserCount").lines()) == [
        f"create {GOLDEN}/users.count.json",
        f"create {GOLDEN}/users.count.reply.json",
        "create tests/users/test_count_users.py",
        "change apps/users/README.md",
        "change apps/users/requests.py",
        "change contracts/users.py",
    ]
    assert contents(root) == before


def test_reply_stands_before_its_request(root: Path) -> None:
    classes = bases(plan_request(root, "users", "CountUsers", "UserCount").changed["contracts/users.py"])
    assert (classes["UserCount"], classes["CountUsers"]) == (["Message"], ["Request[UserCount]"])
    names = list(classes)
    assert names.index("DeleteUser") < names.index("UserCount") < names.index("CountUsers") < names.index("_UserEvent")


def test_request_without_a_reply_is_answered_with_done(root: Path) -> None:
    plan = plan_request(root, "payments", "ForgetPayment")
    assert bases(plan.changed["contracts/payments.py"])["ForgetPayment"] == ["Request[Done]"]
    assert "async def forget_payment(_: ForgetPayment) -> Done:" in plan.changed["apps/payments/requests.py"]
    assert json.loads(plan.created[f"{GOLDEN}/payments.forget.reply.json"])["body"] == {}


def test_handler_stands_beside_the_others(root: Path) -> None:
    text = plan_request(root, "users", "CountUsers", "UserCount").changed["apps/users/requests.py"]
    handlers = [node.name for node in ast.parse(text).body if isinstance(node, ast.AsyncFunctionDef)]
    assert handlers.index("count_users") == max(
        position for position, name in enumerate(handlers) if not name.startswith("_")
    )


def test_readme_names_the_subject(root: Path) -> None:
    readme = plan_request(root, "users", "CountUsers", "UserCount").changed["apps/users/README.md"]
    assert "`users.change_password`, `users.count`, `users.create`" in readme


def test_second_request_finds_the_same_places(root: Path) -> None:
    plan_request(root, "users", "CountUsers", "UserCount").write(root)
    changed = plan_request(root, "users", "ForgetUsers").changed
    assert {"CountUsers", "ForgetUsers"} <= set(bases(changed["contracts/users.py"]))
    for path, text in changed.items():
        if path.endswith(".py"):
            ast.parse(text, path)
            assert "{{" not in text


@pytest.mark.parametrize(
    ("service", "name", "reply", "sentence"),
    [
        ("refunds", "CountRefunds", None, "There is no service 'refunds': the services are gateway, payments, users."),
        ("gateway", "CountRoutes", None, "gateway owns no database"),
        ("users", "GetUsers", None, "contracts/users.py has GetUsers already: choose another name."),
        ("users", "CountUsers", "UserView", "contracts/users.py has UserView already: choose another name."),
        ("users", "CreateUsers", None, "contracts/users.py has the subject users.create already"),
        ("users", "count", None, "'count' is not the name of a request"),
    ],
)
def test_impossible_request_is_refused(root: Path, service: str, name: str, reply: str | None, sentence: str) -> None:
    before = contents(root)
    with pytest.raises(NameRefused) as refused:
        plan_request(root, service, name, reply)
    assert sentence in str(refused.value)
    assert contents(root) == before


def test_unexpected_file_is_named_and_nothing_changes(root: Path) -> None:
    (root / "apps/users/README.md").write_text("# The users service\n", "utf-8")
    before = contents(root)
    with pytest.raises(CannotChange, match=r"^apps/users/README\.md has no table .*: nothing was changed\.$"):
        plan_request(root, "users", "CountUsers", "UserCount")
    assert contents(root) == before
