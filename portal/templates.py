"""The templates beside this module: HTML, in which everything is escaped that a document says, and Markdown."""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent / "templates"


def render(template: str, /, **given: Any) -> str:
    """Fill in a template; a name that it uses and is not given raises `jinja2.UndefinedError`."""
    return _environment().get_template(template).render(**given)


def prose(text: str) -> Markup:
    """Turn a text with `code` in backticks and empty lines between paragraphs into HTML."""
    paragraphs = [_coded(part) for part in re.split(r"\n\s*\n", str(text).strip()) if part]
    return Markup("").join(Markup("<p>{}</p>").format(part) for part in paragraphs)


def inline(text: str) -> Markup:
    """Turn a line with `code` in backticks into HTML."""
    return _coded(str(text).strip())


def cell(text: str) -> str:
    """Make a text fit into a cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _coded(text: str) -> Markup:
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part) for at, part in enumerate(parts)
    )


@cache
def _environment() -> "Environment":
    # A gateway that comes back after kill -9 must not wait for it: 0.1 s of processor.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"prose": prose, "inline": inline, "cell": cell}
    return environment
