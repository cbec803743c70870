"""Sessions notice what is not as printed."""

import os
from pathlib import Path

import pytest

from tests.docs.sessions import Command, Output, Shell, commands_of

PRINTED = "one\n{'id': 5}\n\nlast"


@pytest.mark.parametrize("lines", [("one",), ("{'id': ...}",), ("one", "last"), ("one", "", "last"), ("...",)])
def test_printed_lines_are_found(lines: tuple[str, ...]) -> None:
    Output(lines).check(PRINTED)


@pytest.mark.parametrize("lines", [("on",), ("ne",), ("last", "one"), ("{'id': 6}",), ("one", "one"), ("one...last",)])
def test_other_lines_fail(lines: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match="not in"):
        Output(lines).check(PRINTED)


def test_each_line_is_a_command() -> None:
    code = "# first\na b \\\n  c\n\nd |\n  e\n"
    assert list(commands_of(code)) == [Command("a b c"), Command("d | e")]


def test_variables_stay_from_one_command_to_the_next(tmp_path: Path) -> None:
    with Shell(tmp_path, os.environ) as shell:
        shell.run("WORD=hello")
        assert shell.run("cat; printf $WORD") == "hello\n"


@pytest.mark.parametrize("command", ["false", "false | true", "exit 0", "unknown_program"])
def test_failed_command_is_noticed(tmp_path: Path, command: str) -> None:
    with Shell(tmp_path, os.environ) as shell, pytest.raises(AssertionError, match=r"unknown_program|false|exit 0"):
        shell.run(command)
