"""The templates of new files, rendered with Jinja."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

FOLDER = Path(__file__).with_name("templates")
SUFFIX = ".jinja"


def render(template: str, values: Mapping[str, object]) -> str:
    """Return the text of a template, named by its path without the suffix. Raises an error for a missing value."""
    return _environment().get_template(f"{template}{SUFFIX}").render(values)


def below(folder: str) -> Iterator[str]:
    """Return the templates below a folder, in the order of their paths, without the suffix."""
    for path in sorted((FOLDER / folder).rglob(f"*{SUFFIX}")):
        yield path.relative_to(FOLDER).as_posix().removesuffix(SUFFIX)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - slow to import

    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=False,  # noqa: S701 - source code, not HTML
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
