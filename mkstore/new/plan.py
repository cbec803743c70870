"""The plan of a new service: the text of each new and each changed file, before anything is written."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mkstore.new.names import NameRefused, Names

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).with_name("templates")
_SUFFIX = ".jinja"


class CannotChange(Exception):
    """An existing file is not as expected, so that the plan is impossible; the text names it."""


@dataclass(frozen=True)
class Plan:
    """Texts by the path of their file, relative to the project's root."""

    created: Mapping[str, str]
    changed: Mapping[str, str]

    def lines(self) -> Iterator[str]:
        """Return one line for each file, as `mkstore new` prints it."""
        yield from (f"create {path}" for path in sorted(self.created))
        yield from (f"change {path}" for path in sorted(self.changed))

    def write(self, root: Path) -> None:
        """Write all files below `root`."""
        for path, text in {**self.created, **self.changed}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, "utf-8")


def plan_service(root: Path, names: Names) -> Plan:
    """Return the plan of a new service in the project below `root`; nothing is written.

    Raises `NameRefused` if the project has something of that name, and `CannotChange` if a file that the plan changes
    lacks the text beside which it inserts.
    """
    values = {**names.values(), "version": _version(root)}
    created = dict(_created(values))
    _refuse_existing(root, names, created)
    return Plan(created, _changed(root, values))


def _created(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    folder = TEMPLATES / "service"
    environment = _environment()
    words = {"NAME": values["name"], "NOUN": values["noun"], "VERSION": values["version"]}
    for template in sorted(folder.rglob(f"*{_SUFFIX}")):
        path = template.relative_to(TEMPLATES).as_posix()
        target = re.sub("|".join(words), lambda word: words[word[0]], path.removeprefix("service/"))
        yield target.removesuffix(_SUFFIX), environment.get_template(path).render(values)


def _changed(root: Path, values: Mapping[str, str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for insertion in tomllib.loads(_environment().get_template(f"service.toml{_SUFFIX}").render(values))["insert"]:
        path = insertion["path"]
        if path not in texts:
            texts[path] = _read(root, path)
        anchor = insertion.get("before") or insertion["after"]
        if (found := texts[path].count(anchor)) != 1:
            raise CannotChange(f"{path} contains {anchor.strip()!r} {found} times, not once: nothing was changed.")
        before, _, after = texts[path].partition(anchor)
        inserted = insertion["text"] + anchor if "before" in insertion else anchor + insertion["text"]
        texts[path] = before + inserted + after
    return texts


def _read(root: Path, path: str) -> str:
    try:
        return (root / path).read_text("utf-8")
    except FileNotFoundError:
        raise CannotChange(f"{path} does not exist: nothing was changed.") from None


def _refuse_existing(root: Path, names: Names, created: Mapping[str, str]) -> None:
    for path in (f"apps/{names.plural}", f"tests/{names.plural}", f"contracts/{names.singular}.py", *created):
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


def _version(root: Path) -> str:
    return str(tomllib.loads(_read(root, "pyproject.toml"))["project"]["version"])


def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - slow to import

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # noqa: S701 - source code, not HTML
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
