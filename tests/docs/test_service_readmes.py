"""Each service's README lists what its documents and settings contain."""

import re

import pytest

from tests.conftest import ROOT
from tests.docs import service_tables

SERVICES = sorted(path.parent.name for path in (ROOT / "apps").glob("*/main.py"))


def readme(service: str) -> str:
    return (ROOT / "apps" / service / "README.md").read_text()


def section(service: str, heading: str) -> list[str]:
    """Return the lines of one section without blank lines."""
    match = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", readme(service), re.DOTALL | re.MULTILINE)
    assert match, f"apps/{service}/README.md has no section {heading!r}"
    return [line for line in match[1].splitlines() if line]


@pytest.mark.parametrize("service", SERVICES)
def test_owned_database_and_streams_match_the_asyncapi_document(service: str) -> None:
    lines = [line for line in readme(service).splitlines() if line.startswith("Owns:")]
    assert lines == [owned for owned in [service_tables.owned(service)] if owned]


@pytest.mark.parametrize("service", SERVICES)
def test_subjects_match_the_asyncapi_document(service: str) -> None:
    table = [line for line in section(service, "Subjects") if line.startswith("|")]
    expected = service_tables.subjects(service)
    assert table == expected, "\n".join(["The table in the README should be:", *expected])


@pytest.mark.parametrize("service", sorted(path.stem for path in (ROOT / "openapi").glob("*.json")))
def test_endpoints_match_the_openapi_document(service: str) -> None:
    items = [line for line in section(service, "Endpoints") if line.startswith("- ")]
    expected = service_tables.endpoints(service)
    assert items == expected, "\n".join(["The list in the README should be:", *expected])


@pytest.mark.parametrize("service", SERVICES)
def test_environment_lists_the_variables_of_this_service(service: str) -> None:
    names = re.findall(r"`([A-Z0-9_]+)`", "\n".join(line for line in section(service, "Environment") if line[0] == "|"))
    assert set(names) == service_tables.variables(service)


@pytest.mark.parametrize("service", SERVICES)
def test_readme_has_a_diagram(service: str) -> None:
    assert "```mermaid" in readme(service)
