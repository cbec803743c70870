"""`mkstore status` and `mkstore logs`: what a running `mkstore up` does."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from mkstore.cli.support import HomeOption, JsonOption, fail, run_record, show
from mkstore.stack import processes
from mkstore.stack.ports import without_login
from mkstore.stack.state_dir import DEFAULT_STATE_DIR

_COLUMNS = ("name", "state", "pid", "address")
_POLL_INTERVAL = 0.2
_LINES = 20
_TAIL_BYTES = 1 << 20
"""Of a longer log only so much is read for its last lines."""


def status(home: HomeOption = None, json: JsonOption = False) -> None:
    """Show each part of a running `mkstore up` and its state; exit 1 if one is not ready."""
    record = run_record(home or DEFAULT_STATE_DIR)
    rows = [{"name": name, **_row(part)} for name, part in _parts(record)]
    show("mkstore", _COLUMNS, rows, as_json=json)
    if any(row["state"] not in {"ready", "external"} for row in rows):
        raise typer.Exit(1)


def _parts(record: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each part with its name; of a cluster each node."""
    for name, part in record.items():
        nodes = part.get("nodes")
        yield from [(str(node["name"]), node) for node in nodes] if nodes else [(name, part)]


def _row(part: dict[str, Any]) -> dict[str, object]:
    return {
        "state": _state(part),
        "pid": " ".join(map(str, part.get("pids") or [part["pid"] or ""])),
        "address": without_login(str(part["url"])),
    }


def _state(part: dict[str, Any]) -> str:
    """Return `ready`, `not ready`, `ended`, or `external` for a server that `mkstore up` has not started."""
    from mkstore.stack.service_process import is_ready  # noqa: PLC0415 - slow to import, and `mkstore --help` is not

    if part["pid"] is None:
        return "external"
    if not processes.runs(part["pid"]):
        return "ended"
    if not str(part["url"]).startswith("http"):
        return "ready"
    return "ready" if is_ready(str(part["url"])) else "not ready"


def logs(
    part: Annotated[
        str | None, typer.Argument(metavar="[PART]", help="Such as users or nats; all of them by default.")
    ] = None,
    home: HomeOption = None,
    *,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Wait for new lines.")] = False,
    lines: Annotated[int, typer.Option("-n", min=0, help="Number of last lines of each log.")] = _LINES,
) -> None:
    """Print the last lines of the logs, each line after the name of its part."""
    folder = (home or DEFAULT_STATE_DIR) / "logs"
    files = {file.stem: file for file in sorted(folder.glob("*.log"))}
    if not files:
        fail(f"There are no logs in {folder}. Run `mkstore up`, or set --home.")
    if part is not None and part not in files:
        fail(f"There is no log of {part!r}; there are {', '.join(files)}.")
    chosen = files if part is None else {part: files[part]}
    positions = {}
    for name, file in chosen.items():
        content, positions[name] = _whole_lines(file, max(0, file.stat().st_size - _TAIL_BYTES))
        _print(name, content[len(content) - min(lines, len(content)) :])
    with suppress(KeyboardInterrupt):
        while follow:
            time.sleep(_POLL_INTERVAL)
            for name, file in chosen.items():
                content, positions[name] = _whole_lines(file, positions[name])
                _print(name, content)


def _whole_lines(file: Path, position: int) -> tuple[list[str], int]:
    """Return the whole lines from a position on, and the position after them; from the start of a shortened file."""
    with file.open("rb") as log:
        log.seek(position if position <= log.seek(0, os.SEEK_END) else 0)
        start = log.tell()
        content = log.read()
    end = content.rfind(b"\n") + 1
    return content[:end].decode(errors="replace").splitlines(), start + end


def _print(name: str, lines: list[str]) -> None:
    for line in lines:
        typer.echo(f"{name:<10} {line}")
