"""The recipes in docs/ work as printed, all of them in one copy of this project, and so does what `mkstore new` writes.

The new service comes last, so that it extends what another one has inserted; `test_tutorial.py` adds one to the project
as it is.
"""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.recipes import Project, blocks
from tests.docs.running_copy import EMAIL, MKSTORE, pay, record_of, up
from tests.support.dockerfile import UV
from tests.support.polling import eventually

pytestmark = pytest.mark.timeout(600)  # each test does the work of many
_BIN = Path(sys.executable).parent
_EVERY_NEW_SERVICE = (
    "docs/test_links.py::test_relative_links_lead_somewhere[apps/{}/README.md]",
    "docs/test_service_readmes.py::test_owned_database_and_streams_match_the_asyncapi_document[{}]",
    "docs/test_service_readmes.py::test_subjects_match_the_asyncapi_document[{}]",
    "docs/test_service_readmes.py::test_environment_lists_the_variables_of_this_service[{}]",
    "docs/test_service_readmes.py::test_readme_has_a_diagram[{}]",
    "deploy/test_servers.py::test_service_finds_its_own_streams_and_creates_none[{}]",
    "deploy/test_servers.py::test_service_connects_to_its_own_database_only[{}]",
    "deploy/test_images.py::test_image_contains_only_dependencies_of_its_service[{}]",
    "deploy/test_images.py::test_service_becomes_ready_alone[{}]",
)

WRITTEN = (
    "invoices",
    "users/test_user_promoted.py",
    "payments/test_on_user_promoted.py",
    "users/test_promotion.py",
    "users/test_count_users.py",
)
"""The tests that `mkstore new` writes, and those that the recipes write instead of them or beside them."""

CHECKS = (
    *WRITTEN,
    "users/test_my_handler.py",
    "payments/test_my_store.py",
    "receipts",
    "architecture",
    "contracts/test_golden.py",
    "contracts/test_golden_handlers.py",
    "contracts/test_streams.py",
    "deploy/test_compose.py",
    "deploy/test_compose_production.py",
    "deploy/test_kubernetes.py",
    "deploy/test_kubernetes_servers.py",
    "deploy/test_servers.py::test_nats_accepts_its_configuration",
    "docs/test_service_readmes.py::test_subjects_match_the_asyncapi_document[users]",
    *(check.format(service) for service in ("receipts", "invoices") for check in _EVERY_NEW_SERVICE),
)
"""The tests of the new parts, and those that check every service: its naming, README, containers and servers."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of this project in which all recipes are carried out, with its generated files written."""
    copy = Project(tmp_path_factory.mktemp("project"))
    for recipe in ("Add an event", "Add a request", "Add a command"):
        copy.follow(blocks("adding.md", recipe))
    for test in ("Test the whole store", "Test one handler"):
        copy.follow(blocks("testing.md", test))
    command, *by_hand = blocks("adding.md", "Add a service")
    copy.follow([*by_hand, command])
    copy.execute(_BIN / "ruff", "check", "--fix", "--quiet", "--no-cache")
    copy.execute(_BIN / "ruff", "format", "--quiet", "--no-cache")
    return copy


@pytest.mark.parametrize(
    "operation",
    [
        "users.publishes.UserPromoted",
        "payments.consumes.UserPromoted",
        "users.replies.CountUsers",
        "gateway.requests.CountUsers",
        "payments.consumes.RefundPayment",
        "receipts.replies.GetReceipt",
        "receipts.consumes.PaymentCreated",
        "receipts.publishes.ReceiptIssued",
        "invoices.replies.GetInvoice",
        "invoices.consumes.PaymentCreated",
        "invoices.publishes.InvoiceCreated",
    ],
)
def test_recipes_are_documented(project: Project, operation: str) -> None:
    service = operation.partition(".")[0]
    document = json.loads((project.root / f"asyncapi/{service}.json").read_text("utf-8"))
    assert operation in document["operations"]


def test_generated_files_are_up_to_date(project: Project) -> None:
    project.run(*MKSTORE, "docs", "--check")
    project.run(*MKSTORE, "env", "--check")
    project.execute(UV, "lock", "--check", "--quiet")


def test_linters_and_type_checker_accept_the_new_parts(project: Project) -> None:
    cache = ROOT / ".mypy_cache"
    if cache.exists():  # without what the check of the project has cached, this one takes 25 s more of CPU
        shutil.copytree(cache, project.root / cache.name)
    project.execute(_BIN / "mypy", "apps", "contracts", "mkstore/services.py", *(f"tests/{path}" for path in WRITTEN))
    project.execute(_BIN / "hadolint", "Dockerfile")
    project.execute(_BIN / "shellcheck", "deploy/postgres/databases.sh")


def test_tests_of_the_new_parts_and_of_every_service_pass(project: Project) -> None:
    project.run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *(f"tests/{path}" for path in CHECKS))


async def test_recipes_run_under_mkstore_up(project: Project) -> None:
    with up(project) as store:
        payment = pay(store)
        receipt = await eventually(lambda: record_of(store, "receipts.get", payment))
        invoice = await eventually(lambda: record_of(store, "invoices.get", payment))
        project.run(*MKSTORE, "users", "promote", EMAIL, "--home", str(store.home))
        log = store.home / "logs/payments.log"
        await eventually(lambda: "user promoted" in log.read_text("utf-8"))
    assert receipt["text"] == "USD 1999"
    assert invoice["paymentId"] == str(payment)
