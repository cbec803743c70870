"""Compare two versions of an OpenAPI document for the clients of the HTTP API."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from contract_gate import x_nats
from contract_gate.changes import Change, Direction, Severity
from contract_gate.http_content import content, headers
from contract_gate.operations import without_parameter_names
from contract_gate.references import canonical, followed, malformed
from contract_gate.schemas import compare_schemas

BREAKING, RISKY, SAFE = Severity.BREAKING, Severity.RISKY, Severity.SAFE
CLIENTS = ("HTTP clients",)

Document = dict[str, Any]
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")


def compare_http(old: Document, new: Document) -> Iterator[Change]:
    """Yield the changes of an HTTP API. Raises `UnreadableError` if a document is malformed."""
    with malformed(f"The OpenAPI document {old.get('info', {}).get('title')}"):
        for change in _changes(old, new):
            yield replace(change, affects=CLIENTS)


def _changes(old: Document, new: Document) -> Iterator[Change]:
    before, after = _operations(old), _operations(new)
    for key, (name, operation) in before.items():
        if key not in after:
            yield Change(name, "operation-removed", BREAKING, "is removed")
        else:
            yield from _Route(name, old, new).changes(operation, after[key][1])
            if after[key][0] != name:
                yield Change(name, "parameter-renamed", SAFE, f"is now {after[key][0]}, which is the same on the wire")
    for key, (name, _) in after.items():
        if key not in before:
            yield Change(name, "operation-added", SAFE, "is new")
    one, other = ({server.get("url") for server in side.get("servers", [])} for side in (old, new))
    for url in sorted(one - other):
        yield Change("servers", f"server-removed {url}", BREAKING, f"the server {url} is removed")
    for url in sorted(other - one):
        yield Change("servers", f"server-added {url}", SAFE, f"the server {url} is new")
    yield from x_nats.compare_rest("info", old.get("info", {}), new.get("info", {}), {"version"})
    yield from x_nats.compare_rest("document", old, new, {"info", "paths", "components", "servers", "security"})


def _operations(document: Document) -> dict[tuple[str, str], tuple[str, Document]]:
    """Return every operation by method and path without parameter names, merged with what its path item shares."""
    routes = {}
    for path, reference in document.get("paths", {}).items():
        item = followed(document, reference)
        names = re.findall(r"\{([^}]*)\}", path)
        shared = {key: value for key, value in item.items() if key in {"parameters", "servers"}}
        for method in _METHODS:
            if method in item:
                own = item[method]
                parameters = [*shared.get("parameters", []), *own.get("parameters", [])]
                whole = {"security": document.get("security", []), **shared, **own, "parameters": parameters}
                whole["path"] = names
                routes[method, without_parameter_names(path)] = (f"{method.upper()} {path}", whole)
    return routes


class _Route:
    """Compares the two versions of one operation."""

    def __init__(self, place: str, old: Document, new: Document) -> None:
        self._place = place
        self._roots = old, new

    def changes(self, old: Document, new: Document) -> Iterator[Change]:
        yield from self._parameters(self._by_place(old, 0), self._by_place(new, 1))
        yield from self._request(
            *(followed(r, side.get("requestBody")) for r, side in zip(self._roots, (old, new), strict=True))
        )
        yield from self._responses(old.get("responses", {}), new.get("responses", {}))
        yield from x_nats.compare_logins(
            self._place, *(_security(r, side) for r, side in zip(self._roots, (old, new), strict=True))
        )
        if bool(old.get("deprecated")) != bool(new.get("deprecated")):
            sentence = "is deprecated" if new.get("deprecated") else "is no longer deprecated"
            yield Change(self._place, "deprecation-changed", SAFE, sentence)
        known = {"path", "parameters", "requestBody", "responses", "security", "deprecated"}
        yield from x_nats.compare_rest(self._place, old, new, known)

    def _by_place(self, operation: Document, side: int) -> dict[tuple[str, str], Document]:
        """Return parameters by location and name; path parameters by position: their names are not on the wire."""
        parameters: dict[tuple[str, str], Document] = {}
        for reference in operation["parameters"]:
            parameter = followed(self._roots[side], reference)
            name = parameter["name"]
            if parameter["in"] == "path" and name in operation["path"]:
                name = str(operation["path"].index(name))
            parameters[parameter["in"], name.lower() if parameter["in"] == "header" else name] = parameter
        return parameters

    def _parameters(
        self, old: dict[tuple[str, str], Document], new: dict[tuple[str, str], Document]
    ) -> Iterator[Change]:
        for key, before in old.items():
            place = f"{self._place}/{key[0]}/{before['name']}"
            if key not in new:
                yield Change(place, "parameter-removed", RISKY, "is now ignored")
                continue
            yield from self._parameter(place, before, new[key])
        for key, after in new.items():
            if key not in old:
                place = f"{self._place}/{key[0]}/{after['name']}"
                if after.get("required"):
                    yield Change(place, "required-added", BREAKING, "is new and required")
                else:
                    yield Change(place, "parameter-added", SAFE, "is new and optional")

    def _parameter(self, place: str, old: Document, new: Document) -> Iterator[Change]:
        if bool(old.get("required")) != bool(new.get("required")):
            if new.get("required"):
                yield Change(place, "required-added", BREAKING, "is now required; it was optional")
            else:
                yield Change(place, "required-removed", SAFE, "is now optional")
        for key in ("style", "explode"):
            if old.get(key) != new.get(key):
                yield Change(place, f"{key}-changed", BREAKING, x_nats.changed(key, old.get(key), new.get(key)))
        for change in compare_schemas(
            old.get("schema", True),
            new.get("schema", True),
            Direction.INPUT,
            old_root=self._roots[0],
            new_root=self._roots[1],
        ):
            yield change.below(place)
        yield from content(f"{place}", old, new, Direction.INPUT, self._roots)
        yield from x_nats.compare_rest(
            place, old, new, {"name", "in", "required", "style", "explode", "schema", "content"}
        )

    def _request(self, old: Document | None, new: Document | None) -> Iterator[Change]:
        place = f"{self._place}/request"
        if new is None:
            if old is not None:
                yield Change(place, "body-removed", RISKY, "the body is now ignored")
            return
        required = bool(new.get("required"))
        if old is None:
            level = BREAKING if required else SAFE
            yield Change(place, "body-added", level, f"a body is now {'required' if required else 'possible'}")
            return
        if required and not old.get("required"):
            yield Change(place, "required-added", BREAKING, "the body is now required")
        elif old.get("required") and not required:
            yield Change(place, "required-removed", SAFE, "the body is now optional")
        yield from content(place, old, new, Direction.INPUT, self._roots)
        yield from x_nats.compare_rest(place, old, new, {"content", "required"})

    def _responses(self, old: Document, new: Document) -> Iterator[Change]:
        for status, response in old.items():
            place = f"{self._place}/{status}"
            if status not in new:
                yield Change(place, "status-removed", BREAKING, f"{status} is no longer returned")
                continue
            before, after = followed(self._roots[0], response), followed(self._roots[1], new[status])
            yield from content(place, before, after, Direction.OUTPUT, self._roots)
            yield from headers(place, before.get("headers", {}), after.get("headers", {}), self._roots)
            yield from x_nats.compare_rest(place, before, after, {"content", "headers"})
        for status in new:
            if status not in old:
                yield Change(f"{self._place}/{status}", "status-added", RISKY, f"{status} is a new status")


def _security(document: Document, operation: Document) -> list[Any]:
    """Return the alternative security requirements, resolved; empty if anonymous access is allowed."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    alternatives = []
    for requirement in operation["security"]:
        if not requirement:
            return []  # an empty requirement allows anonymous access
        needed = {
            name: [followed(document, schemes.get(name, {})), sorted(scopes)] for name, scopes in requirement.items()
        }
        # The scheme's name exists only in the document: compare its definition, without the wording.
        alternatives.append(sorted((canonical(_plain(scheme)), scopes) for scheme, scopes in needed.values()))
    return alternatives


def _plain(scheme: Document) -> Document:
    definition = {key: value for key, value in scheme.items() if key not in x_nats.WORDS}
    return definition | ({"name": scheme["name"]} if scheme.get("type") == "apiKey" else {})
