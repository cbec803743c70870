"""Every HTTP rule that is not a schema rule, in both directions."""

from typing import Any

import pytest

from contract_gate.changes import Severity
from contract_gate.http import compare_http
from tests.contract_gate.writing import TEXT, Json

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE
BEARER = {"type": "http", "scheme": "bearer"}
KEY = {"type": "apiKey", "in": "header", "name": "X-Key"}


def api(document: Json | None = None, **operation: Any) -> Json:
    """Return an API with one operation."""
    content = {"responses": {"200": {"description": "OK."}}, **operation}
    components = {
        "securitySchemes": {"bearer": BEARER, "key": KEY, "other": KEY | {"name": "X-Other"}},
        "parameters": {"Page": {"name": "page", "in": "query", "schema": {"type": "integer", "maximum": 9}}},
        "requestBodies": {"Note": {"required": True, "content": {"text/plain": {"schema": TEXT}}}},
        "responses": {"Ok": {"description": "OK.", "headers": {"Age": {"$ref": "#/components/headers/Age"}}}},
        "headers": {"Age": {"required": True, "schema": TEXT}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Shop"},
        "paths": {"/a": {"post": content}},
        "components": components,
        **(document or {}),
    }


def page(**keywords: Any) -> Json:
    return {"name": "page", "in": "query", "schema": {"type": "integer", "maximum": 9}, **keywords}


def body(kind: str = "text/plain", **keywords: Any) -> Json:
    return {"content": {kind: {"schema": TEXT}}, **keywords}


# old, new, id and severity of the change, id and severity of the change back
RULES: list[tuple[Json, Json, str, Severity, str, Severity]] = [
    (api(), api(requestBody=body()), "request: body-added", SAFE, "request: body-removed", RISKY),
    (api(), api(requestBody=body(required=True)), "request: body-added", BREAKING, "request: body-removed", RISKY),
    (
        api(requestBody=body()),
        api(requestBody=body(required=True)),
        "request: required-added",
        BREAKING,
        "request: required-removed",
        SAFE,
    ),
    (
        api(requestBody=body("text/plain")),
        api(requestBody=body("text/html")),
        "request: media-type-removed text/plain",
        BREAKING,
        "request: media-type-removed text/html",
        BREAKING,
    ),
    (
        api(parameters=[page()]),
        api(parameters=[page(required=True)]),
        "query/page: required-added",
        BREAKING,
        "query/page: required-removed",
        SAFE,
    ),
    (
        api(parameters=[page()]),
        api(parameters=[page(style="spaceDelimited")]),
        "query/page: style-changed",
        BREAKING,
        "query/page: style-changed",
        BREAKING,
    ),
    (
        api(parameters=[page()]),
        api(parameters=[page(allowReserved=True)]),
        "query/page: allowReserved-changed",
        RISKY,
        "query/page: allowReserved-changed",
        RISKY,
    ),
    (
        api(parameters=[page()]),
        api(parameters=[page() | {"in": "header"}]),
        "query/page: parameter-removed",
        RISKY,
        "header/page: parameter-removed",
        RISKY,
    ),
    (api(), api(security=[{"bearer": []}]), ": login-changed", BREAKING, ": login-eased", SAFE),
    (
        api(security=[{"bearer": []}]),
        api(security=[{"bearer": []}, {"key": []}]),
        ": login-eased",
        SAFE,
        ": login-changed",
        BREAKING,
    ),
    (
        api(security=[{"key": []}]),
        api(security=[{"other": []}]),
        ": login-changed",
        BREAKING,
        ": login-changed",
        BREAKING,
    ),
    (
        api(security=[{"bearer": []}]),
        api(security=[{"bearer": []}, {}]),
        ": login-eased",
        SAFE,
        ": login-changed",
        BREAKING,
    ),
    (api(), api({"security": [{"bearer": []}]}), ": login-changed", BREAKING, ": login-eased", SAFE),
    (
        api(responses={"200": {"description": "OK."}}),
        api(responses={"200": {"description": "OK."}, "404": {"description": "Not found."}}),
        "404: status-added",
        RISKY,
        "404: status-removed",
        BREAKING,
    ),
    (
        api(responses={"200": {"description": "OK."}}),
        api(responses={"200": {"$ref": "#/components/responses/Ok"}}),
        "200/headers/Age: header-added",
        SAFE,
        "200/headers/Age: header-removed",
        BREAKING,
    ),
    (api(), api(callbacks={"done": {}}), ": callbacks-changed", RISKY, ": callbacks-changed", RISKY),
]


def levels(old: Json, new: Json) -> dict[str, Severity]:
    changes = compare_http(old, new)
    return {change.id.removeprefix("POST /a").removeprefix("/"): change.severity for change in changes}


@pytest.mark.parametrize(
    ("one", "other", "forward", "level", "backward", "level_back"),
    RULES,
    ids=[f"{n} {row[2]}" for n, row in enumerate(RULES)],
)
def test_http_rule_in_both_directions(
    one: Json, other: Json, forward: str, level: Severity, backward: str, level_back: Severity
) -> None:
    assert levels(one, other)[forward] is level
    assert levels(other, one)[backward] is level_back


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (api(parameters=[page()]), api(parameters=[{"$ref": "#/components/parameters/Page"}])),
        (api(requestBody=body(required=True)), api(requestBody={"$ref": "#/components/requestBodies/Note"})),
        (
            api(parameters=[page()]),
            api({"paths": {"/a": {"parameters": [page()], "post": {"responses": {"200": {"description": "OK."}}}}}}),
        ),
        (api(security=[{"bearer": []}]), api({"security": [{"bearer": []}]})),
        (api(security=[]), api()),
    ],
    ids=["parameter", "body", "path parameters", "global login", "no login"],
)
def test_equivalent_documents_have_no_changes(one: Json, other: Json) -> None:
    assert levels(one, other) == {}
    assert levels(other, one) == {}


def test_removed_server_breaks_and_new_server_is_safe() -> None:
    old, new = (api({"servers": [{"url": url}]}) for url in ("https://a.example", "https://b.example"))
    assert levels(old, new) == {
        "servers: server-removed https://a.example": BREAKING,
        "servers: server-added https://b.example": SAFE,
    }


def test_path_parameters_are_matched_by_position() -> None:
    def at(path: str, *names: str) -> Json:
        schemas = ({"type": "integer"}, TEXT)
        places = [
            {"name": name, "in": "path", "required": True, "schema": schema}
            for name, schema in zip(names, schemas, strict=True)
        ]
        content = {"parameters": places[::-1], "responses": {"200": {"description": "OK."}}}
        return api({"paths": {path: {"post": content}}})

    assert set(levels(at("/{a}/{b}", "a", "b"), at("/{c}/{d}", "c", "d")).values()) == {SAFE}
    assert BREAKING in levels(at("/{a}/{b}", "a", "b"), at("/{b}/{a}", "a", "b")).values()
