"""The recipes in docs/ work as printed, all of them in one copy of this project."""

import json
import sys
from pathlib import Path

import pytest

from tests.docs.recipes import Project, blocks
from tests.docs.running_copy import EMAIL, MKSTORE, pay, record_of, up
from tests.support.dockerfile import UV
from tests.support.polling import eventually

_BIN = Path(sys.executable).parent

CHECKS = (
    "users/test_promotion.py",
    "users/test_count.py",
    "users/test_my_handler.py",
    "payments/test_my_store.py",
    "receipts/test_receipts.py",
    "architecture/test_messages.py",
    "architecture/test_endpoints.py",
    "architecture/test_ownership.py",
    "docs/test_links.py::test_relative_links_lead_somewhere[apps/receipts/README.md]",
    "docs/test_service_readmes.py::test_owned_database_and_streams_match_the_asyncapi_document[receipts]",
    "docs/test_service_readmes.py::test_subjects_match_the_asyncapi_document[receipts]",
    "docs/test_service_readmes.py::test_environment_lists_the_variables_of_this_service[receipts]",
    "docs/test_service_readmes.py::test_readme_has_a_diagram[receipts]",
    "deploy/test_compose.py",
    "deploy/test_compose_production.py",
    "deploy/test_kubernetes.py",
    "deploy/test_kubernetes_servers.py",
    "deploy/test_servers.py::test_nats_accepts_its_configuration",
    "deploy/test_servers.py::test_service_finds_its_own_streams_and_creates_none[receipts]",
    "deploy/test_servers.py::test_service_connects_to_its_own_database_only[receipts]",
    "deploy/test_images.py::test_image_contains_only_dependencies_of_its_service[receipts]",
    "deploy/test_images.py::test_service_becomes_ready_alone[receipts]",
)
"""The tests that the recipes print, and those of every service's naming, README, containers and servers."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of this project in which all recipes are carried out, with its documents written."""
    copy = Project(tmp_path_factory.mktemp("project"))
    for recipe in ("Add an event", "Add a request", "Add a command", "Add a service"):
        copy.follow(blocks("adding.md", recipe))
    for test in ("Test the whole store", "Test one handler"):
        copy.follow(blocks("testing.md", test))
    copy.run(*MKSTORE, "docs")
    copy.execute(UV, "lock", "--quiet")
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
    ],
)
def test_recipes_are_documented(project: Project, operation: str) -> None:
    service = operation.partition(".")[0]
    document = json.loads((project.root / f"asyncapi/{service}.json").read_text("utf-8"))
    assert operation in document["operations"]


def test_printed_tests_and_checks_of_the_new_service_pass(project: Project) -> None:
    project.run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *(f"tests/{path}" for path in CHECKS))


def test_new_service_passes_the_linters(project: Project) -> None:
    project.execute(_BIN / "lint-imports", "--no-logo", "--no-cache")
    project.execute(_BIN / "hadolint", "Dockerfile")
    project.execute(_BIN / "shellcheck", "deploy/postgres/databases.sh")


async def test_recipes_run_under_mkstore_up(project: Project) -> None:
    with up(project) as store:
        payment = pay(store)
        receipt = await eventually(lambda: record_of(store, "receipts.get", payment))
        project.run(*MKSTORE, "users", "promote", EMAIL, "--home", str(store.home))
        log = store.home / "logs/payments.log"
        await eventually(lambda: "became an admin" in log.read_text("utf-8"))
    assert receipt["text"] == "USD 1999"
