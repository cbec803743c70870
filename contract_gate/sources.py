"""One side of a comparison: the documents of a git revision, a folder or a file."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from contract_gate.references import UnreadableError

Document = dict[str, Any]
FOLDERS = ("asyncapi", "openapi")
"""Where the documents of a version are."""


@dataclass(frozen=True)
class Documents:
    """The documents of one version: AsyncAPI of the services, OpenAPI of their HTTP APIs."""

    events: list[Document] = field(default_factory=list)
    http: list[Document] = field(default_factory=list)
    merged: list[Document] = field(default_factory=list)
    """Those that only say again what others say; nothing is compared twice."""


def from_texts(texts: Mapping[str, str]) -> Documents:
    """Return the documents among files, by their paths; what is no document of either kind is left out.

    Merged is a document all of whose operations stand in others too. Raises `UnreadableError`.
    """
    found = Documents()
    for path, text in sorted(texts.items()):
        document = _parsed(path, text)
        if "asyncapi" in document:
            found.events.append(_checked(path, document, "asyncapi", "operations", "channels"))
        elif "openapi" in document:
            found.http.append(_checked(path, document, "openapi", "paths"))
    merged = [one for one in found.events if _merged(one, found.events)]
    return Documents([one for one in found.events if one not in merged], found.http, merged)


def load(root: Path, name: str) -> Documents:
    """Return the documents of the path or, where there is none, the git revision called `name`.

    A file is one document; a folder holds them, or the folders of a version. Raises `UnreadableError`, which says what
    was looked for.
    """
    path = Path(name)
    if path.is_file():
        documents = from_texts({name: _text(path)})
    elif path.is_dir():
        folders = [path / folder for folder in FOLDERS if (path / folder).is_dir()] or [path]
        documents = from_texts({str(file): _text(file) for folder in folders for file in folder.glob("*.json")})
    else:
        documents = from_texts(_of_revision(root, name))
    if not documents.events and not documents.http:
        raise UnreadableError(f"{name} holds no AsyncAPI and no OpenAPI document.")
    return documents


def only_counterparts(new: Documents, old: Documents) -> Documents:
    """Return the documents of `new` that `old` has, by id or title; raises `UnreadableError` where one is missing."""
    known = {_name(document): document for document in [*new.events, *new.merged, *new.http]}
    missing = [_name(document) for document in [*old.events, *old.http] if _name(document) not in known]
    if missing:
        raise UnreadableError(f"Nothing here is called {missing[0]}; there are {', '.join(sorted(known))}.")
    return Documents([known[_name(one)] for one in old.events], [known[_name(one)] for one in old.http])


def _name(document: Document) -> str:
    return str(document.get("id") or document.get("info", {}).get("title"))


def _merged(document: Document, others: Iterable[Document]) -> bool:
    told: set[str] = set()
    for other in others:
        if other is not document and len(other.get("operations", {})) < len(document.get("operations", {})):
            told |= other.get("operations", {}).keys()
    return bool(document.get("operations")) and document["operations"].keys() <= told


def _parsed(path: str, text: str) -> Document:
    try:
        document = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise UnreadableError(f"{path} is neither JSON nor YAML: {line}.") from None
    if not isinstance(document, dict):
        raise UnreadableError(f"{path} is no document: it holds no object.")
    return document


def _checked(path: str, document: Document, kind: str, *parts: str) -> Document:
    """Return the document if it is written in version 3 and holds what is compared; raises `UnreadableError`."""
    if not str(document[kind]).startswith("3."):
        raise UnreadableError(f"{path} is written in {kind} {document[kind]}; only version 3 can be compared.")
    for part in parts:
        members = document.get(part, {})
        if not isinstance(members, dict) or not all(isinstance(member, dict) for member in members.values()):
            raise UnreadableError(f"{path} is not formed as {kind} says: its {part} are no objects.")
    for name, operation in document.get("operations", {}).items() if kind == "asyncapi" else ():
        if "$ref" not in operation and "$ref" not in operation.get("channel", {}):
            raise UnreadableError(f"{path} is not formed as asyncapi says: the operation {name} has no channel.")
    return document


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path} cannot be read: {error}.") from None


def _of_revision(root: Path, revision: str) -> dict[str, str]:
    if revision.startswith("-") or _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise UnreadableError(f"{revision} is no file, no folder and no revision that git knows here.")
    listed = _git(root, "ls-tree", "--name-only", revision, *(f"{folder}/" for folder in FOLDERS)) or ""
    texts = {path: _git(root, "show", f"{revision}:./{path}") for path in listed.split("\n") if path.endswith(".json")}
    return {path: text for path, text in texts.items() if text is not None}


def _git(root: Path, *arguments: str) -> str | None:
    """Return what git prints, None if it refuses."""
    try:
        done = subprocess.run(  # noqa: S603 - git, and names of files and revisions that it checks
            ["git", "-C", str(root), *arguments],  # noqa: S607 - wherever it is installed
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError:
        raise UnreadableError("There is no git here, and no such file or folder.") from None
    return done.stdout if done.returncode == 0 else None
