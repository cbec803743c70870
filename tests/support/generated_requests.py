"""Generated requests to every operation of an OpenAPI document, with schemathesis."""

from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    missing_required_header,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

EXAMPLES = 10
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


def failed_operations(url: str, mode: str, headers: Mapping[str, str]) -> list[str]:
    """Send generated requests to every operation of the gateway at `url`; return one entry per operation that failed.

    `mode` is "positive" for valid requests and "negative" for invalid ones. The event stream, which never ends, is left
    out; it has separate tests.
    """
    documented = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path="/events")
    generated = GenerationMode(mode)
    failures: list[str] = []
    for result in documented.get_all_operations():
        assert isinstance(result, Ok), result.err()
        operation = result.ok()

        @bounded
        @given(case=operation.as_strategy(generation_mode=generated))
        def try_it(case: schemathesis.Case[Any]) -> None:
            case.call_and_validate(headers=dict(headers), checks=CHECKED, timeout=15)

        try:
            try_it()
        except Unsatisfiable:
            assert generated.is_negative, f"{operation.label} allows nothing"
        except (FailureGroup, Failure) as failure:
            failures.append(f"{operation.label}: {failure!r} {getattr(failure, 'exceptions', ())}")
    return failures
