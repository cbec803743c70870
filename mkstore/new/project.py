"""What the project has already: services, the streams and nouns of their events, and the names of messages."""

import ast
import re
from collections.abc import Collection
from dataclasses import dataclass

from mkstore.new.modules import Module
from mkstore.new.names import NameRefused
from mkstore.new.plan import CannotChange, Draft

_SUBJECT = re.compile(r'"([a-z_]+)\.\*"')


@dataclass(frozen=True)
class Service:
    """A service that owns a database and publishes events."""

    name: str
    stream: str
    """The constant of the stream with its events."""
    nouns: tuple[str, ...]
    """What its events are about: the first parts of their subjects."""

    def path(self, module: str) -> str:
        """Return the path of one of its modules."""
        return f"apps/{self.name}/{module}.py"


def service_of(draft: Draft, name: str) -> Service:
    """Return the service of this name. Raises `NameRefused` if there is none, or if it publishes no events."""
    names = sorted(path.parent.name for path in (draft.root / "apps").glob("*/main.py"))
    if name not in names:
        raise NameRefused(f"There is no service {name!r}: the services are {', '.join(names)}.")
    main = Module(draft, f"apps/{name}/main.py")
    stream = main.argument("DatabaseService", "events")
    if not isinstance(stream, ast.Name):
        raise NameRefused(f"{name} owns no database, so it replies to no requests and publishes no events on NATS.")
    subjects = Module(draft, "contracts/streams.py")
    return Service(name, stream.id, tuple(_SUBJECT.findall(subjects.source(subjects.value(stream.id)))))


def refuse_taken(draft: Draft, names: Collection[str], subject: str) -> None:
    """Raise `NameRefused` if a message has one of these names, or this subject."""
    for path in sorted((draft.root / "contracts").glob("*.py")):
        module = Module(draft, f"contracts/{path.name}")
        for name in names:
            if module.defines(name):
                raise NameRefused(f"{module.path} has {name} already: choose another name.")
        if f'"{subject}"' in module.text:
            raise NameRefused(f"{module.path} has the subject {subject} already: choose another name.")


def subject_of(node: ast.ClassDef) -> str:
    """Return the subject of a message; "" if the class has none."""
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and ast.unparse(each.target) == "subject":
            return str(each.value.value) if isinstance(each.value, ast.Constant) else ""
    return ""


def module_of_events(draft: Draft, noun: str) -> tuple[Module, list[ast.ClassDef]]:
    """Return the module of the contracts with the events of a noun, and their classes.

    Raises `CannotChange` if there are none.
    """
    for path in sorted((draft.root / "contracts").glob("*.py")):
        module = Module(draft, f"contracts/{path.name}")
        if events := [node for node in module.classes() if subject_of(node).startswith(f"{noun}.")]:
            return module, events
    raise CannotChange(f"No module of contracts/ has an event of the noun {noun}: nothing was changed.")
