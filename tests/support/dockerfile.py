"""Executes a Dockerfile in a folder, without Docker: what it copies, runs and starts."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import NamedTuple

from tests.conftest import ROOT

UV = os.environ.get("UV") or shutil.which("uv") or "uv"


class Instruction(NamedTuple):
    """One instruction, with joined lines and without comments."""

    name: str
    text: str


def instructions(file: Path) -> Iterator[Instruction]:
    """Read a Dockerfile."""
    lines = [line for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, text = line.partition(" ")
            yield Instruction(name.upper(), text.strip())


def filled(text: str, variables: Mapping[str, str]) -> str:
    """Fill in `$NAME` and `${NAME}`; an unknown one is empty, as in a shell."""
    names = (name for match in Template.pattern.findall(text) for name in match if name)
    return Template(text).substitute(dict.fromkeys(names, "") | dict(variables))


@dataclass
class Stage:
    """The state of a build stage, inherited by stages that are built from it."""

    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    copied: list[str] = field(default_factory=list)


@dataclass
class Image:
    """The last stage of a Dockerfile, built below `root`, which replaces `/`."""

    root: Path
    stage: Stage

    @property
    def folder(self) -> Path:
        """The working folder of the command."""
        return self.root / self.stage.workdir.lstrip("/")

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a container's process, plus `more`; bytecode is written as modules are imported."""
        env = {name: value for name, value in self.stage.env.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**env, "HOME": str(self.root), **more}

    def popen(self, command: list[str], more: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """Start a command as a container would."""
        env = self.environment(more)
        program = shutil.which(command[0], path=env["PATH"])
        assert program, f"{command[0]} is not in the image"
        with log.open("ab") as output:
            return subprocess.Popen(
                [program, *command[1:]],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def build(root: Path, arguments: Mapping[str, str]) -> Image:
    """Execute the project's Dockerfile with build `arguments` below `root`.

    The Python and uv of the tests replace those of the base image, and packages are not compiled to bytecode, which
    takes four seconds of CPU per image; everything else is executed.
    """
    shared, blocks = _blocks(list(instructions(ROOT / "Dockerfile")))
    shared |= arguments
    stages: dict[str, Stage] = {}
    for name in _needed(blocks, shared):
        stages[name] = _make(root, blocks[name], shared, stages)
    return Image(root, stages[name])


def _blocks(file: list[Instruction]) -> tuple[dict[str, str], dict[str, list[Instruction]]]:
    """Split a Dockerfile into the arguments before its first stage, and its stages by name (the last is "")."""
    shared: dict[str, str] = {}
    blocks: dict[str, list[Instruction]] = {}
    block: list[Instruction] | None = None
    for instruction in file:
        if instruction.name == "FROM":
            block = []
            blocks[instruction.text.partition(" AS ")[2]] = block
        if block is None:
            assert instruction.name == "ARG"
            name, _, default = instruction.text.partition("=")
            shared[name] = default
        else:
            block.append(instruction)
    return shared, blocks


def _needed(blocks: Mapping[str, list[Instruction]], shared: Mapping[str, str], name: str = "") -> list[str]:
    """Return the stages that a stage needs, and itself, in build order."""
    needed: list[str] = []
    for instruction in blocks[name]:
        base = filled(instruction.text, shared).partition(" AS ")[0] if instruction.name == "FROM" else ""
        if instruction.name == "COPY" and instruction.text.startswith("--from="):
            base = instruction.text.removeprefix("--from=").split()[0]
        if base in blocks and base:
            needed += [stage for stage in _needed(blocks, shared, base) if stage not in needed]
    return [*needed, name]


def _make(root: Path, block: list[Instruction], shared: Mapping[str, str], stages: Mapping[str, Stage]) -> Stage:
    base = filled(block[0].text, shared).partition(" AS ")[0]
    before = stages.get(base, Stage(env={"PATH": os.defpath}))
    making = _Making(root, shared, replace(before, env=dict(before.env), copied=list(before.copied)))
    for instruction in block[1:]:
        carry_out = getattr(making, instruction.name.lower(), None)
        if carry_out is not None:  # the others are metadata
            carry_out(instruction.text)
    return making.stage


class _Making:
    """A stage that is being built: one method per instruction with an effect."""

    def __init__(self, root: Path, shared: Mapping[str, str], stage: Stage) -> None:
        self.stage = stage
        self._root = root
        self._shared = shared
        self._known: dict[str, str] = {}

    def arg(self, text: str) -> None:
        self._known[text] = self._shared[text]

    def env(self, text: str) -> None:
        for name, value in re.findall(r'(\w+)=("[^"]*"|\S*)', self._filled(text)):
            # Paths below / in an image are below `root` here.
            self.stage.env[name] = re.sub(r"(^|:)(?=/opt/)", rf"\1{self._root}", value.strip('"'))

    def workdir(self, text: str) -> None:
        self.stage.workdir = text
        self._folder.mkdir(parents=True, exist_ok=True)

    def user(self, text: str) -> None:
        self.stage.user = text

    def copy(self, text: str) -> None:
        if text.startswith("--from="):
            return  # between stages, which share one root
        *sources, target = self._filled(text).split()
        self.stage.copied += sources
        for source in sources:
            _copy(ROOT / source, self._folder / target, into=target.endswith("/"))

    def run(self, text: str) -> None:
        if not text.startswith("pip install "):
            _run(re.sub(r"--mount=\S+\s*", "", text), self._folder, self._known | self.stage.env)

    def healthcheck(self, text: str) -> None:
        self.stage.health = json.loads(text[text.index("[") :])

    def cmd(self, text: str) -> None:
        self.stage.command = json.loads(text)

    @property
    def _folder(self) -> Path:
        return self._root / self.stage.workdir.lstrip("/")

    def _filled(self, text: str) -> str:
        return filled(text, self._known | self.stage.env)


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        folder = target if into else target.parent
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _run(command: str, folder: Path, env: Mapping[str, str]) -> None:
    inherited = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONPATH"}}
    inherited |= {"UV_PYTHON": str(Path(sys.executable).resolve())}
    path = f"{Path(UV).parent}:{env['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-euc", command],
        cwd=folder,
        env={**inherited, **env, "UV_COMPILE_BYTECODE": "0", "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
