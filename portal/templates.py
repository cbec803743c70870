"""Renders the templates beside this module; HTML templates escape every value."""

import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent / "templates"


def render(template: str, /, **values: Any) -> str:
    """Render a template. Raises `jinja2.UndefinedError` if it uses a name that is not in `values`."""
    return _environment().get_template(template).render(**values)


def prose(text: str) -> Markup:
    """Convert text with `code` in backticks and blank lines between paragraphs to HTML."""
    paragraphs = [_coded(part) for part in re.split(r"\n\s*\n", str(text).strip()) if part]
    return Markup("").join(Markup("<p>{}</p>").format(part) for part in paragraphs)


def inline(text: str) -> Markup:
    """Convert a line with `code` in backticks to HTML."""
    return _coded(str(text).strip())


def cell(text: str) -> str:
    """Return the text on one line for a cell of a Markdown table; `|` and `<` are escaped outside of code spans."""
    parts = re.split(r"(`[^`]+`)", " ".join(str(text).split()).replace("|", "\\|"))
    return "".join(part if index % 2 else part.replace("<", "&lt;") for index, part in enumerate(parts))


def line(text: str) -> str:
    """Return the text on one line, unchanged otherwise: for plain text."""
    return " ".join(str(text).split())


def python(value: object) -> str:
    """Return a JSON value as a Python literal, one line per item."""
    return _literal(value, "")


def _literal(value: object, indent: str) -> str:
    inner = f"{indent}    "
    if isinstance(value, dict) and value:
        items = "".join(f"{inner}{_literal(str(key), '')}: {_literal(item, inner)},\n" for key, item in value.items())
        return f"{{\n{items}{indent}}}"
    if isinstance(value, list) and value:
        items = "".join(f"{inner}{_literal(item, inner)},\n" for item in value)
        return f"[\n{items}{indent}]"
    # Python reads every escape of a JSON string in the same way.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _coded(text: str) -> Markup:
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


@cache
def _environment() -> "Environment":
    # Imported at the first page: it costs 0.1 s of CPU, which would delay the restart of the gateway.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "prose": prose,
        "inline": inline,
        "cell": cell,
        "line": line,
        "python": python,
        "shell": shlex.quote,
    }
    return environment
