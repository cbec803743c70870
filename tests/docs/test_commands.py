"""The commands in the guides exist, with their options."""

import re
import shlex
from collections.abc import Iterator

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from mkstore.cli.main import app
from tests.docs.test_links import PAGES

_COMMAND = re.compile(r"^uv run mkstore ((?:\\\n|[^\n#`])*)|`uv run mkstore ([^\n`]*)`", re.MULTILINE)


def commands() -> Iterator[str]:
    """Return the arguments of every `uv run mkstore` in the guides."""
    for page in PAGES:
        for block, inline in _COMMAND.findall(page.read_text("utf-8")):
            yield " ".join((block or inline).replace("\\\n", "").split())


@pytest.mark.parametrize("arguments", sorted(set(commands())))
def test_commands_in_the_guides_exist(arguments: str) -> None:
    command = get_command(app)
    words = shlex.split(arguments)
    while isinstance(command, TyperGroup):
        name = words.pop(0)
        assert name in command.commands, f"mkstore has no command {name!r}"
        command = command.commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options
