"""The OpenAPI document: valid, complete, and equal to what the gateway does."""

import re
from typing import Any

import jsonschema_rs
import pytest

from apps.gateway.http.openapi import HEADERS
from apps.gateway.http.problems import PHRASES
from apps.gateway.main import app
from tests.support.store import Store, client_of
from tests.support.users_harness import PASSWORD, new_email

DOCUMENT: dict[str, Any] = app.api.openapi()
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
NAMES = [f"{method} {path}" for method, path in OPERATIONS]
PUBLIC = {
    ("POST", "/users"),
    ("POST", "/auth/token"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=NAMES)


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_document_is_valid_openapi_3_1() -> None:
    from schemathesis.specs.openapi import definitions  # noqa: PLC0415 - slow, and every worker imports this module

    assert DOCUMENT["openapi"].startswith("3.1.")
    validator = jsonschema_rs.Draft202012Validator(definitions.OPENAPI_31)
    assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(DOCUMENT)] == []


def test_every_reference_resolves_to_a_valid_schema() -> None:
    for reference in references(DOCUMENT):
        assert resolved(reference)
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})


async def test_document_is_served() -> None:
    async with client_of(app) as http:
        assert (await http.get("/openapi.json")).json() == DOCUMENT


def test_document_has_every_promised_operation() -> None:
    assert set(OPERATIONS) >= PUBLIC | {
        ("GET", "/users"),
        ("GET", "/users/me"),
        ("GET", "/users/{user_id}"),
        ("PATCH", "/users/{user_id}"),
        ("DELETE", "/users/{user_id}"),
        ("PUT", "/users/{user_id}/password"),
        ("POST", "/payments"),
        ("GET", "/payments"),
        ("GET", "/payments/{payment_id}"),
        ("GET", "/events"),
    }


@every_operation
def test_every_error_response_is_a_problem(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    assert {"400", "413", "422", "500", "503", "504"} <= set(responses)
    for status, response in responses.items():
        if status == "503" and "health" in operation["tags"]:
            continue  # the same body as the 200
        if int(status) >= 400:
            assert set(response["content"]) == {"application/problem+json"}
            schema = response["content"]["application/problem+json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ProblemDetails"}


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=NAMES)
def test_document_shows_authentication_and_rate_limits(method: str, path: str) -> None:
    operation = OPERATIONS[method, path]
    assert ("security" in operation) is ((method, path) not in PUBLIC)
    assert ("401" in operation["responses"]) is ((method, path) not in PUBLIC)
    assert ("429" in operation["responses"]) is ("health" not in operation["tags"])


@every_operation
def test_every_operation_has_description_and_tags(operation: dict[str, Any]) -> None:
    assert operation["description"]
    assert operation["tags"]


def test_operation_ids_are_unique_camel_case() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name) for name in names), names
    assert OPERATIONS["POST", "/payments"]["operationId"] == "createPayment"


@every_operation
def test_every_response_has_a_description(operation: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        assert response["description"] != "Successful Response"
        if status in {"429", "503"} and "health" not in operation["tags"]:
            assert set(response["headers"]) == {"Retry-After"}


@pytest.mark.asyncio(loop_scope="module")
async def test_success_headers_match_the_document(store: Store) -> None:
    ada = await store.sign_up()
    form = {"grant_type": "password", "username": ada.user["email"], "password": PASSWORD}
    first = await ada.pay("a key", "wait=10")
    by_operation = {
        ("POST", "/users"): [await store.http.post("/users", json={"email": new_email(), "password": PASSWORD})],
        ("POST", "/auth/token"): [await store.http.post("/auth/token", data=form)],
        ("GET", "/.well-known/jwks.json"): [await store.http.get("/.well-known/jwks.json")],
        ("GET", "/users/me"): [
            await ada.get("/users/me"),
            await ada.request("GET", "/users/me", {"If-None-Match": '"1"'}),
        ],
        ("GET", "/users/{user_id}"): [await ada.get(f"/users/{ada.id}")],
        ("POST", "/payments"): [first, await ada.pay("a key")],
        ("GET", "/payments"): [await ada.get("/payments")],
        ("GET", "/payments/{payment_id}"): [await ada.get(first.headers["location"])],
        ("PATCH", "/users/{user_id}"): [await ada.request("PATCH", f"/users/{ada.id}", {}, json={"name": "Ada"})],
        ("DELETE", "/users/{user_id}"): [await ada.request("DELETE", f"/users/{ada.id}", {})],
    }
    own = {header.lower() for header in HEADERS}
    for operation, responses in by_operation.items():
        for response in responses:
            documented = OPERATIONS[operation]["responses"][str(response.status_code)]["headers"]
            promised = {header.lower() for header in documented}
            assert own & response.headers.keys() <= promised, (operation, response.status_code)
            if operation != ("POST", "/payments"):
                assert promised <= response.headers.keys(), (operation, response.status_code)
    assert first.headers["preference-applied"] == "wait=10"
    assert by_operation["POST", "/payments"][1].headers["idempotent-replayed"] == "true"


def test_names_are_camel_case_except_oauth() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        if name != "TokenAnswer" and "Body_" not in name:
            for field in schema.get("properties", {}):
                assert re.fullmatch(r"[a-z][A-Za-z]*", field), f"{name}.{field}"
    for operation in OPERATIONS.values():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query":
                assert re.fullmatch(r"[a-z][A-Za-z]*", parameter["name"])


def test_request_bodies_forbid_unknown_fields() -> None:
    for operation in OPERATIONS.values():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if body:
            assert resolved(body["$ref"])["additionalProperties"] is False


@every_operation
def test_error_descriptions_are_our_own_phrases(operation: dict[str, Any]) -> None:
    """Those of `http.HTTPStatus` depend on the Python version."""
    for status, response in operation["responses"].items():
        if int(status) >= 400 and "health" not in operation["tags"]:
            assert response["description"] == PHRASES[int(status)]
