"""The plan of a new event, on a copy of the files that it changes."""

import ast
import json
from pathlib import Path

import pytest

from mkstore.new.event import emission, plan_event
from mkstore.new.message_names import EventNames
from mkstore.new.names import NameRefused, Names
from mkstore.new.plan import CannotChange
from mkstore.new.service import plan_service
from tests.conftest import ROOT
from tests.mkstore.new.conftest import contents

FLAGGED = EventNames.of("UserFlagged")
GOLDEN = "tests/contracts/golden/0.1.0"


def class_of(text: str, name: str) -> ast.ClassDef:
    (found,) = [node for node in ast.parse(text).body if isinstance(node, ast.ClassDef) and node.name == name]
    return found


def row(readme: str, role: str) -> str:
    (found,) = [line for line in readme.splitlines() if line.startswith(f"| {role} |")]
    return found


def test_planning_writes_nothing(root: Path) -> None:
    before = contents(root)
    plan_event(root, "users", FLAGGED, "payments")
    assert contents(root) == before


def test_plan_lists_each_file_once(root: Path) -> None:
    assert list(plan_event(root, "users", FLAGGED, "payments").lines()) == [
        f"create {GOLDEN}/user.flagged.json",
        "create tests/payments/test_on_user_flagged.py",
        "create tests/users/test_user_flagged.py",
        "change apps/payments/README.md",
        "change apps/payments/events.py",
        "change apps/users/README.md",
        "change apps/users/main.py",
        "change contracts/consumers.py",
        "change contracts/users.py",
    ]


def test_python_files_can_be_parsed(root: Path) -> None:
    plan = plan_event(root, "users", FLAGGED, "payments")
    for path, text in {**plan.created, **plan.changed}.items():
        if path.endswith(".py"):
            ast.parse(text, path)
            assert "{{" not in text


def test_event_has_the_fields_of_its_siblings(root: Path) -> None:
    plan = plan_event(root, "users", FLAGGED)
    event = class_of(plan.changed["contracts/users.py"], "UserFlagged")
    assert [ast.unparse(base) for base in event.bases] == ["_UserEvent"]
    assert ast.get_docstring(event) == "A user was flagged."
    golden, sibling = (
        json.loads(text)
        for text in (
            plan.created[f"{GOLDEN}/user.flagged.json"],
            (ROOT / GOLDEN / "user.created.json").read_text("utf-8"),
        )
    )
    assert (golden["subject"], golden["headers"]["ce-type"]) == ("user.flagged", "user.flagged")
    assert golden["headers"]["ce-id"] != sibling["headers"]["ce-id"]
    assert golden["body"] == sibling["body"]


def test_event_without_siblings_has_an_id_and_a_version(root: Path) -> None:
    plan = plan_event(root, "users", EventNames.of("SessionExtended"))
    event = class_of(plan.changed["contracts/sessions.py"], "SessionExtended")
    assert [ast.unparse(base) for base in event.bases] == ["Event"]
    golden = json.loads(plan.created[f"{GOLDEN}/session.extended.json"])
    assert golden["headers"]["ce-subject"] == golden["body"]["id"]
    assert golden["headers"]["ce-aggregateversion"] == str(golden["body"]["version"])


def test_service_declares_the_event(root: Path) -> None:
    changed = plan_event(root, "users", FLAGGED).changed
    main = ast.parse(changed["apps/users/main.py"])
    (specification,) = [
        node
        for node in ast.walk(main)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ServiceSpecification"
    ]
    (publishes,) = [each.value for each in specification.keywords if each.arg == "publishes"]
    assert isinstance(publishes, ast.List)
    assert ast.unparse(publishes.elts[-1]) == "UserFlagged"
    assert "`user.deleted` (`USER_EVENTS`), `user.flagged` (`USER_EVENTS`)" in row(
        changed["apps/users/README.md"], "Publishes"
    )


def test_consumer_gets_a_durable_and_a_handler(root: Path) -> None:
    changed = plan_event(root, "users", FLAGGED, "payments").changed
    durable = 'PAYMENTS_ON_USER_FLAGGED = Durable("payments-on_user_flagged", UserFlagged, USER_EVENTS)\n'
    assert changed["contracts/consumers.py"].endswith(durable)
    assert "@router.consume(PAYMENTS_ON_USER_FLAGGED)\nasync def on_user_flagged(" in changed["apps/payments/events.py"]
    assert "`user.flagged` (durable `payments-on_user_flagged`)" in row(changed["apps/payments/README.md"], "Consumes")


def test_stream_is_consumed_from_the_first_event_on(root: Path) -> None:
    plan_service(root, Names.of("invoices")).write(root)
    plan = plan_event(root, "invoices", EventNames.of("InvoiceFlagged"), "payments")
    plan.write(root)
    streams = "consumes=(PAYMENT_COMMANDS, KEYED_PAYMENT_COMMANDS, USER_EVENTS, INVOICE_EVENTS)"
    assert streams in plan.changed["apps/payments/main.py"]
    second = plan_event(root, "invoices", EventNames.of("InvoiceSettled"), "payments")
    assert "apps/payments/main.py" not in second.changed


def test_tuple_of_one_stream_is_extended(root: Path) -> None:
    plan_service(root, Names.of("invoices")).write(root)
    changed = plan_event(root, "users", FLAGGED, "invoices").changed
    assert "consumes=(PAYMENT_EVENTS, USER_EVENTS)" in changed["apps/invoices/main.py"]


def test_second_event_finds_the_same_places(root: Path) -> None:
    plan_event(root, "users", FLAGGED, "payments").write(root)
    changed = plan_event(root, "users", EventNames.of("UserVerified"), "payments").changed
    classes = {node.name for node in ast.parse(changed["contracts/users.py"]).body if isinstance(node, ast.ClassDef)}
    assert {"UserFlagged", "UserVerified"} <= classes
    assert changed["apps/payments/events.py"].count("log = get_logger(__name__)") == 1


@pytest.mark.parametrize(
    ("service", "name", "statement"),
    [
        ("users", "UserFlagged", "await users.emit(UserFlagged(user=user.view()))"),
        ("users", "SessionExtended", "await users.emit(SessionExtended(...))"),
        ("payments", "PaymentFlagged", "await payments.emit([(PaymentFlagged(payment=payment.view()), trace.get())])"),
    ],
)
def test_emission_is_the_statement_of_its_service(root: Path, service: str, name: str, statement: str) -> None:
    assert emission(root, service, EventNames.of(name)) == statement


@pytest.mark.parametrize(
    ("service", "name", "consumer", "sentence"),
    [
        ("refunds", "RefundMarked", None, "There is no service 'refunds': the services are gateway, payments, users."),
        ("gateway", "GatewayOpened", None, "gateway owns no database"),
        (
            "payments",
            "UserFlagged",
            None,
            "an event of payments begins with Payment; UserFlagged does not.",
        ),
        ("users", "PageTurned", None, "begins with User or Session or Key"),
        ("users", "UserCreated", None, "contracts/users.py has UserCreated already: choose another name."),
        ("users", "UserFlagged", "users", "users publishes the event: its consumer is another service."),
        ("users", "UserFlagged", "refunds", "There is no service 'refunds'"),
        ("payments", "PaymentFlagged", "users", "users consumes no events: apps/users/events.py does not exist."),
        ("payments", "PaymentFlagged", "gateway", "gateway owns no database"),
    ],
)
def test_impossible_event_is_refused(root: Path, service: str, name: str, consumer: str | None, sentence: str) -> None:
    before = contents(root)
    with pytest.raises(NameRefused) as refused:
        plan_event(root, service, EventNames.of(name), consumer)
    assert sentence in str(refused.value)
    assert contents(root) == before


def test_event_that_exists_is_refused(root: Path) -> None:
    plan_event(root, "users", FLAGGED).write(root)
    with pytest.raises(NameRefused, match=r"contracts/users\.py has UserFlagged already"):
        plan_event(root, "users", FLAGGED)


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("apps/users/README.md", "# The users service\n", "has no table of roles and subjects"),
        ("apps/users/README.md", None, "does not exist"),
        ("contracts/consumers.py", "class\n", "is not valid Python"),
        ("apps/payments/events.py", '"""Without a router."""\n', "assigns nothing to router"),
        (f"{GOLDEN}/user.created.json", None, "does not exist"),
    ],
)
def test_unexpected_file_is_named_and_nothing_changes(root: Path, path: str, text: str | None, sentence: str) -> None:
    (root / path).unlink()
    if text is not None:
        (root / path).write_text(text, "utf-8")
    before = contents(root)
    with pytest.raises(CannotChange, match=rf"^{path} {sentence}.*: nothing was changed\.$"):
        plan_event(root, "users", FLAGGED, "payments")
    assert contents(root) == before
