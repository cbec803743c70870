"""The gateway answers valid and invalid generated requests as its OpenAPI document says."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.support.http_client import PASSWORD, no_tracebacks, unused_email
from tests.support.running_store import Running

EXAMPLES = 15
CHECKED = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    unsupported_method,
    missing_required_header,
]
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.filter_too_much],  # an operation without parameters forbids nothing
)


@pytest.fixture(scope="module")
def documented(unlimited_store: Running) -> Iterator[BaseSchema]:
    """Return the gateway's OpenAPI document without the event stream, which never ends and has separate tests."""
    with no_tracebacks(unlimited_store):
        yield schemathesis.openapi.from_url(f"{unlimited_store.url}/openapi.json").exclude(path="/events")


@pytest.fixture(scope="module")
def token(unlimited_store: Running) -> str:
    """Return the token of a user."""
    account = {"email": unused_email(), "password": PASSWORD}
    with httpx.Client(base_url=unlimited_store.url, timeout=15, trust_env=False) as http:
        assert http.post("/users", json=account).status_code == 201
        form = {"grant_type": "password", "username": account["email"], "password": PASSWORD}
        return str(http.post("/auth/token", data=form).json()["access_token"])


def _failures(documented: BaseSchema, mode: GenerationMode, headers: Mapping[str, str]) -> list[str]:
    """Send generated requests to every operation; return one entry per operation that failed."""
    failures: list[str] = []
    for found in documented.get_all_operations():
        assert isinstance(found, Ok), found.err()
        operation = found.ok()

        @bounded
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_it(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(headers=dict(headers), checks=CHECKED, timeout=15)

        try:
            try_it()
        except Unsatisfiable:
            assert mode.is_negative, f"{operation.label} allows nothing"
        except (FailureGroup, Failure) as failure:
            failures.append(f"{operation.label}: {failure!r} {getattr(failure, 'exceptions', ())}")
    return failures


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("caller", ["a user", "anonymous"])
def test_answers_match_the_openapi_document(
    documented: BaseSchema, token: str, mode: GenerationMode, caller: str
) -> None:
    headers = {"Authorization": f"Bearer {token}"} if caller == "a user" else {}
    assert _failures(documented, mode, headers) == []
