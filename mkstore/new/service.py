"""The plan of a new service."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from mkstore.new import templates
from mkstore.new.names import NameRefused, Names
from mkstore.new.plan import Draft, Plan


def plan_service(root: Path, names: Names) -> Plan:
    """Return the plan of a new service in the project below `root`; nothing is written.

    Raises `NameRefused` if the project has something of that name, and `CannotChange` if a file that the plan changes
    lacks the text beside which it inserts.
    """
    _refuse_existing(root, names)
    draft = Draft(root)
    values = {**names.values(), "version": draft.version()}
    _create(draft, values)
    for insertion in tomllib.loads(templates.render("service.toml", values))["insert"]:
        draft.insert(**insertion)
    return draft.plan()


def _create(draft: Draft, values: Mapping[str, str]) -> None:
    words = {"NAME": values["name"], "NOUN": values["noun"], "VERSION": values["version"]}
    for template in templates.below("service"):
        path = re.sub("|".join(words), lambda word: words[word[0]], template.removeprefix("service/"))
        draft.create(path, templates.render(template, values))


def _refuse_existing(root: Path, names: Names) -> None:
    for path in (f"apps/{names.plural}", f"tests/{names.plural}", f"contracts/{names.singular}.py"):
        if (root / path).exists():
            raise NameRefused(f"{path} exists already: choose another name.")
    noun = names.singular.capitalize()
    # A stream that covers the subject of a request would answer its caller, so neither word may have a stream.
    subject = rf'"((?:{names.plural}|{names.singular})\.\*)"'
    taken = re.compile(rf"^class ((?:Get)?{noun}(?:View|Created)?)\(|{subject}", re.MULTILINE)
    for module in sorted((root / "contracts").glob("*.py")):
        if (match := taken.search(module.read_text("utf-8"))) is not None:
            raise NameRefused(
                f"contracts/{module.name} has {match[1] or match[2]} already: choose another name, or --singular."
            )
