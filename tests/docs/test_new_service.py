"""`mkstore new service` in a copy of the project: the result passes every check at once, and runs."""

import json
import sys
from pathlib import Path

import pytest

from tests.docs.recipes import Project
from tests.docs.running_copy import MKSTORE, pay, record_of, up
from tests.support.dockerfile import UV
from tests.support.polling import eventually

_BIN = Path(sys.executable).parent

CHECKS = (
    "invoices",
    "refunds",
    "architecture",
    "contracts",
    "docs/test_links.py::test_relative_links_lead_somewhere[apps/invoices/README.md]",
    "docs/test_service_readmes.py::test_owned_database_and_streams_match_the_asyncapi_document[invoices]",
    "docs/test_service_readmes.py::test_subjects_match_the_asyncapi_document[invoices]",
    "docs/test_service_readmes.py::test_environment_lists_the_variables_of_this_service[invoices]",
    "docs/test_service_readmes.py::test_readme_has_a_diagram[invoices]",
    "deploy/test_compose.py",
    "deploy/test_compose_production.py",
    "deploy/test_kubernetes.py",
    "deploy/test_kubernetes_servers.py",
    "deploy/test_servers.py::test_nats_accepts_its_configuration",
    "deploy/test_servers.py::test_service_finds_its_own_streams_and_creates_none[invoices]",
    "deploy/test_servers.py::test_service_connects_to_its_own_database_only[invoices]",
    "deploy/test_images.py::test_image_contains_only_dependencies_of_its_service[invoices]",
    "deploy/test_images.py::test_service_becomes_ready_alone[invoices]",
)
"""The tests of both services, and those that check every service."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a copy of this project with two new services: the second one extends what the first one inserted."""
    copy = Project(tmp_path_factory.mktemp("project"))
    for name in ("invoices", "refunds"):
        copy.run(*MKSTORE, "new", "service", name)
    return copy


def test_new_service_is_documented(project: Project) -> None:
    operations = json.loads((project.root / "asyncapi/invoices.json").read_text("utf-8"))["operations"]
    expected = {"replies.GetInvoice", "consumes.PaymentCreated", "publishes.InvoiceCreated"}
    assert {f"invoices.{operation}" for operation in expected} <= set(operations)


def test_generated_files_are_up_to_date(project: Project) -> None:
    project.run(*MKSTORE, "docs", "--check")
    project.run(*MKSTORE, "env", "--check")
    project.execute(UV, "lock", "--check", "--quiet")


def test_linters_and_type_checker_accept_the_new_service(project: Project) -> None:
    project.execute(_BIN / "ruff", "check", "--quiet", "--no-cache")
    project.execute(_BIN / "ruff", "format", "--check", "--quiet", "--no-cache")
    project.execute(_BIN / "lint-imports", "--no-logo", "--no-cache")
    project.execute(_BIN / "mypy", "apps/invoices", "contracts", "tests/invoices", "mkstore/services.py")
    project.execute(_BIN / "hadolint", "Dockerfile")
    project.execute(_BIN / "shellcheck", "deploy/postgres/databases.sh")


def test_its_own_tests_and_those_of_every_service_pass(project: Project) -> None:
    project.run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *(f"tests/{path}" for path in CHECKS))


async def test_new_service_handles_a_payment_under_mkstore_up(project: Project) -> None:
    with up(project) as store:
        payment = pay(store)
        invoice = await eventually(lambda: record_of(store, "invoices.get", payment))
    assert invoice["paymentId"] == str(payment)
