"""The tutorial works as printed, commands, changes and outputs, in a copy of the project that has no packages yet."""

import os
import shutil
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path

import pytest

from mkstore.stack.ports import free_port
from tests.docs.recipes import Block, Project, inherited
from tests.docs.sessions import Command, Output, Shell, steps
from tests.support.running_store import running

PAGE = "tutorial.md"
PRINTED_ADDRESS = "http://127.0.0.1:3000"
"""The test uses another port, since this one may be in use."""


def test_tutorial_has_at_most_15_commands() -> None:
    commands = [step for step in steps(PAGE) if isinstance(step, Command)]
    assert len(commands) <= 15
    assert not [command.text for command in commands if "&&" in command.text]


def link_bytecode(environment: Path) -> None:
    """Give new packages the bytecode that the same packages of the running Python have; compiling takes 10 s of CPU."""
    ours = Path(sysconfig.get_path("purelib"))
    theirs = environment / ours.relative_to(sys.prefix)
    for folder in ours.rglob("__pycache__"):
        package = theirs / folder.parent.relative_to(ours)
        if package.exists() and not (package / folder.name).exists():
            shutil.copytree(folder, package / folder.name, copy_function=os.link)


@pytest.mark.timeout(600)  # it installs all packages, and starts every process of the store
def test_tutorial_works_as_printed(tmp_path: Path) -> None:
    root = Project(tmp_path / "mkstore").root
    port = str(free_port())
    address = f"http://127.0.0.1:{port}"
    python = str(Path(sys.executable).resolve())
    environment = {**dict(inherited()), "UV_PYTHON": python, "PORT": port, "STORE": address}
    printed = ""
    with ExitStack() as stack:
        shell = stack.enter_context(Shell(root, environment))
        for step in steps(PAGE):
            if isinstance(step, Block):
                step.apply(root)
            elif isinstance(step, Output):
                step.replaced(PRINTED_ADDRESS, address).check(printed)
            elif step.keeps_running:
                command = ["bash", "-c", step.text]
                printed = stack.enter_context(running(command=command, env=environment, cwd=root)).text
            else:
                printed = shell.run(step.text)
                if step.text == "uv sync":
                    link_bytecode(root / ".venv")
