"""The OpenAPI document: valid, complete, and equal to what the gateway does."""

import re
from typing import Any

import jsonschema_rs
import pytest
import yaml

from apps.gateway.http.openapi import HEADERS
from apps.gateway.main import app
from tests.support.store import Store, client_of
from tests.support.users_harness import CONFIRMED, PASSWORD, new_email

PUBLIC = {
    ("POST", "/users"),
    ("POST", "/auth/sessions"),
    ("POST", "/auth/sessions/refresh"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/health"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
}


PASSWORD_OR_REFRESH = {("POST", "/auth/sessions"), ("POST", "/auth/sessions/refresh")}
"""Operations without an access token that refuse other credentials with 401."""


def document() -> dict[str, Any]:
    """Return the document, which FastAPI builds once."""
    return app.api.openapi()


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Return the operations by method and path."""
    return {
        (method.upper(), path): operation
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


def resolved(reference: str) -> Any:
    part: Any = document()
    for name in reference.removeprefix("#/").split("/"):
        part = part[name]
    return part


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_document_is_valid_openapi_3_1() -> None:
    from schemathesis.specs.openapi import definitions  # noqa: PLC0415 - slow, and every worker imports this module

    assert document()["openapi"].startswith("3.1.")
    validator = jsonschema_rs.Draft202012Validator(definitions.OPENAPI_31)
    assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(document())] == []


def test_every_reference_resolves_to_a_valid_schema() -> None:
    for reference in references(document()):
        assert resolved(reference)
    for schema in document()["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})


async def test_document_is_served() -> None:
    async with client_of(app) as http:
        assert (await http.get("/openapi.json")).json() == document()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("/openapi.json", "application/json"), ("/openapi.yaml", "application/yaml")],
)
async def test_unchanged_document_is_not_sent_again(path: str, media_type: str) -> None:
    async with client_of(app) as http:
        first = await http.get(path)
        again = await http.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, first.headers["content-type"]) == (200, media_type)
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


async def test_document_is_the_same_in_yaml() -> None:
    async with client_of(app) as http:
        assert yaml.safe_load((await http.get("/openapi.yaml")).text) == document()


def test_document_has_every_promised_operation() -> None:
    assert set(operations()) >= PUBLIC | {
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


def test_every_error_response_is_a_problem() -> None:
    for name, operation in operations().items():
        assert {"400", "413", "422", "500", "503", "504"} <= set(operation["responses"]), name
        for status, response in operation["responses"].items():
            if status == "503" and "health" in operation["tags"]:
                continue  # the same body as the 200
            if int(status) >= 400:
                assert list(response["content"]) == ["application/problem+json"], (name, status)
                content = response["content"]["application/problem+json"]
                assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}, (name, status)


def test_document_shows_authentication_and_rate_limits() -> None:
    for name, operation in operations().items():
        assert ("security" in operation) is (name not in PUBLIC), name
        assert ("401" in operation["responses"]) is (name not in PUBLIC or name in PASSWORD_OR_REFRESH), name
        assert ("429" in operation["responses"]) is ("health" not in operation["tags"]), name


def test_every_operation_has_description_and_tags() -> None:
    for name, operation in operations().items():
        assert operation["description"], name
        assert operation["tags"], name


def test_operation_ids_are_unique_camel_case() -> None:
    names = [operation["operationId"] for operation in operations().values()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name) for name in names), names
    assert operations()["POST", "/payments"]["operationId"] == "createPayment"


def test_every_response_has_a_description() -> None:
    for name, operation in operations().items():
        for status, response in operation["responses"].items():
            assert response["description"] != "Successful Response", (name, status)
            if status in {"429", "503"} and "health" not in operation["tags"]:
                assert set(response["headers"]) == {"Retry-After"}, (name, status)


@pytest.mark.asyncio(loop_scope="module")
async def test_success_headers_match_the_document(store: Store) -> None:
    ada = await store.sign_up()
    credentials = {"email": ada.user["email"], "password": PASSWORD}
    first = await ada.pay("a key", "wait=10")
    new_user = {"email": new_email(), "password": PASSWORD}
    by_operation = {
        ("POST", "/users"): [
            await store.http.post("/users", json=new_user, headers={"Idempotency-Key": "a key"}) for _ in range(2)
        ],
        ("POST", "/auth/sessions"): [await store.http.post("/auth/sessions", json=credentials)],
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
        ("DELETE", "/users/{user_id}"): [await ada.request("DELETE", f"/users/{ada.id}", {}, json=CONFIRMED)],
    }
    own = {header.lower() for header in HEADERS}
    sometimes = {"idempotent-replayed", "preference-applied"}
    for operation, responses in by_operation.items():
        for response in responses:
            documented = operations()[operation]["responses"][str(response.status_code)]["headers"]
            promised = {header.lower() for header in documented}
            assert own & response.headers.keys() <= promised, (operation, response.status_code)
            assert promised - sometimes <= response.headers.keys(), (operation, response.status_code)
    assert first.headers["preference-applied"] == "wait=10"
    for path in ("/payments", "/users"):
        assert by_operation["POST", path][1].headers["idempotent-replayed"] == "true"


def test_names_are_camel_case() -> None:
    for name, schema in document()["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            assert re.fullmatch(r"[a-z][A-Za-z]*", field), f"{name}.{field}"
    for operation in operations().values():
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "query":
                assert re.fullmatch(r"[a-z][A-Za-z]*", parameter["name"])


def test_request_bodies_forbid_unknown_fields() -> None:
    for operation in operations().values():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
        if body:
            for schema in body.get("anyOf", [body]):
                assert schema == {"type": "null"} or resolved(schema["$ref"])["additionalProperties"] is False


def test_each_error_response_has_an_example_with_its_words() -> None:
    """The phrases of `http.HTTPStatus` depend on the Python version, and are not those of the problems."""
    schema = {"$ref": "#/components/schemas/ProblemDetails", "components": document()["components"]}
    valid = jsonschema_rs.Draft202012Validator(schema)
    for name, operation in operations().items():
        for status, response in operation["responses"].items():
            if int(status) < 400 or (status == "503" and "health" in operation["tags"]):
                continue
            ((slug, reference),) = response["content"]["application/problem+json"]["examples"].items()
            example = resolved(reference["$ref"])["value"]
            valid.validate(example)
            assert (example["status"], example["code"]) == (int(status), slug), (name, status)
            assert response["description"] == example["title"], (name, status)
            assert ("errors" in example) is (status == "422"), (name, status)


@pytest.mark.asyncio(loop_scope="module")
async def test_example_is_what_the_gateway_answers(store: Store) -> None:
    answered = (await store.http.get("/users/me")).json()
    example = resolved("#/components/examples/unauthorized")["value"]
    assert {**answered, "requestId": 0, "instance": 0} == {**example, "requestId": 0, "instance": 0}


def test_server_is_the_one_that_serves_the_document() -> None:
    assert document()["servers"] == [{"url": "/"}]
