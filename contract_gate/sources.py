"""Read the documents of one side of a comparison: of a git revision, a folder or a file."""

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
"""The folders of a version that contain documents."""


@dataclass(frozen=True)
class Documents:
    """The documents of one version: AsyncAPI documents of the services, OpenAPI documents of their HTTP APIs."""

    events: list[Document] = field(default_factory=list)
    http: list[Document] = field(default_factory=list)
    merged: list[Document] = field(default_factory=list)
    """Documents that only repeat the operations of others, and so are not compared."""


def from_texts(texts: Mapping[str, str]) -> Documents:
    """Return the documents among these files (text by path); files of another kind are left out.

    A document is a merged one if other documents contain all of its operations. Raises `UnreadableError` if a file is
    malformed.
    """
    documents = Documents()
    for path, text in sorted(texts.items()):
        document = _parsed(path, text)
        if "asyncapi" in document:
            documents.events.append(_checked(path, document, "asyncapi", "operations", "channels"))
        elif "openapi" in document:
            documents.http.append(_checked(path, document, "openapi", "paths"))
    merged = [one for one in documents.events if _merged(one, documents.events)]
    return Documents([one for one in documents.events if one not in merged], documents.http, merged)


def load(root: Path, name: str) -> Documents:
    """Return the documents of the path `name` or, if there is none, of the git revision of that name in `root`.

    A file is one document; a folder contains documents, or the folders of a version. Raises `UnreadableError` if there
    are none.
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
        raise UnreadableError(f"{name} contains no AsyncAPI or OpenAPI document.")
    return documents


def only_counterparts(new: Documents, old: Documents) -> Documents:
    """Return the documents of `new` that match those of `old` by id or title.

    Raises `UnreadableError` if one is missing.
    """
    known = {name_of(document): document for document in [*new.events, *new.merged, *new.http]}
    missing = [name_of(document) for document in [*old.events, *old.http] if name_of(document) not in known]
    if missing:
        raise UnreadableError(f"There is no document {missing[0]} here; the documents are {', '.join(sorted(known))}.")
    return Documents([known[name_of(one)] for one in old.events], [known[name_of(one)] for one in old.http])


def name_of(document: Document) -> str:
    """Return the id of a document, or its title without one."""
    return str(document.get("id") or document.get("info", {}).get("title"))


def _merged(document: Document, others: Iterable[Document]) -> bool:
    repeated: set[str] = set()
    for other in others:
        if other is not document and len(other.get("operations", {})) < len(document.get("operations", {})):
            repeated |= other.get("operations", {}).keys()
    return bool(document.get("operations")) and document["operations"].keys() <= repeated


def _parsed(path: str, text: str) -> Document:
    try:
        document = json.loads(text) if path.endswith(".json") else yaml.safe_load(text)
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        line = str(error).splitlines()[0]
        raise UnreadableError(f"{path} is neither JSON nor YAML: {line}.") from None
    if not isinstance(document, dict):
        raise UnreadableError(f"{path} is not a document: its content is not an object.")
    return document


def _checked(path: str, document: Document, kind: str, *parts: str) -> Document:
    """Return the document. Raises `UnreadableError` if it is not version 3 or its top level is malformed."""
    if not str(document[kind]).startswith("3."):
        raise UnreadableError(f"{path} is {kind} {document[kind]}; only version 3 is supported.")
    for part in parts:
        members = document.get(part, {})
        if not isinstance(members, dict) or not all(isinstance(member, dict) for member in members.values()):
            raise UnreadableError(f"{path} is malformed: its {part} are not objects.")
    if not isinstance(document.get("info", {}), dict):
        raise UnreadableError(f"{path} is malformed: its info is not an object.")
    for name, operation in document.get("operations", {}).items() if kind == "asyncapi" else ():
        if "$ref" not in operation and not _is_reference(operation.get("channel")):
            raise UnreadableError(f"{path} is malformed: the operation {name} has no channel.")
    return document


def _is_reference(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("$ref"), str)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableError(f"{path} cannot be read: {error}.") from None


def _of_revision(root: Path, revision: str) -> dict[str, str]:
    if revision.startswith("-") or _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is None:
        raise UnreadableError(f"{revision} is neither a file nor a folder nor a git revision.")
    listed = _git(root, "ls-tree", "--name-only", revision, *(f"{folder}/" for folder in FOLDERS)) or ""
    texts = {path: _git(root, "show", f"{revision}:./{path}") for path in listed.split("\n") if path.endswith(".json")}
    return {path: text for path, text in texts.items() if text is not None}


def _git(root: Path, *arguments: str) -> str | None:
    """Return the output of git; None if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - git checks the names of files and revisions
            ["git", "-C", str(root), *arguments],  # noqa: S607 - found on the PATH
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError:
        raise UnreadableError("There is no such file or folder, and git is not installed.") from None
    return done.stdout if done.returncode == 0 else None
