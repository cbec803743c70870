"""Pages of docs/ that are carried out from top to bottom: commands in one shell, changes of files, printed outputs.

Each line of a fenced `bash` block is a command; a backslash or a pipe at its end joins the next one. A `text` block is
the output of the command before it: its lines are among those that the command prints, in their order, and `...` stands
for any text. A block after `<!-- keep running -->` is a command in another terminal. Blocks of `recipes` change files.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.conftest import ROOT
from tests.docs.recipes import Block, blocks_of

_FENCE = re.compile(
    r"(?:<!-- (?P<comment>[^\n]+?) -->\n+)?^(?P<fence>`{3,})(?P<language>\w*)\n(?P<code>.*?)^(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
_KEEP_RUNNING = "keep running"


@dataclass(frozen=True)
class Command:
    """A command as it is printed."""

    text: str
    keeps_running: bool = False


@dataclass(frozen=True)
class Output:
    """What the command before prints, among other lines."""

    lines: tuple[str, ...]

    def replaced(self, old: str, new: str) -> "Output":
        """Return the output with another text in each line."""
        return Output(tuple(line.replace(old, new) for line in self.lines))

    def check(self, printed: str) -> None:
        """Fail unless `printed` has these lines, in their order."""
        pattern = r"^(?:.*\n)*?".join(rf"{'.*'.join(map(re.escape, line.split('...')))}$\n?" for line in self.lines)
        assert re.search(rf"^{pattern}", printed, re.MULTILINE), f"{self.lines} not in\n{printed}"


def steps(page: str) -> Iterator[Block | Command | Output]:
    """Return the changes, commands and outputs of a page in docs/, in their order. Raises `ValueError` for others."""
    for match in _FENCE.finditer((ROOT / "docs" / page).read_text("utf-8")):
        if match["language"] == "bash":
            yield from commands_of(match["code"], keep_running=match["comment"] == _KEEP_RUNNING)
        elif match["language"] == "text":
            yield Output(tuple(match["code"].splitlines()))
        elif blocks := list(blocks_of(match[0])):
            yield from blocks
        else:
            raise ValueError(f"{page} has a block that is neither a command, an output nor a change:\n{match[0]}")


def commands_of(code: str, *, keep_running: bool = False) -> Iterator[Command]:
    """Return the commands of a block."""
    for line in re.sub(r"\s*\\\n\s*|(?<=\|)\n\s*", " ", code).splitlines():
        if line and not line.startswith("#"):
            yield Command(line, keep_running)


class Shell:
    """A bash process in a folder: variables stay from one command to the next."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "-uo", "pipefail"],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bash.kill()
        self._bash.communicate()

    def run(self, command: str) -> str:
        """Run a command and return what it prints. Fails the test if it fails."""
        assert self._bash.stdin
        assert self._bash.stdout
        # No command may read from the pipe, which has the next ones. The output may lack a newline at its end.
        self._bash.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\n{_END} %d\\n' $?\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line.startswith(_END):
                assert line == f"{_END} 0\n", f"{command}:\n{''.join(printed)}"
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"{command} ended the shell:\n{''.join(printed)}")


_END = "-- end of the command:"
