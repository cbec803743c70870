"""Breaks that are meant: `asyncapi/announced.yaml`, written by hand, tells each with its reason."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from contract_gate.changes import Change, Severity
from contract_gate.references import UnreadableError

PATH = "asyncapi/announced.yaml"


def announced(root: Path) -> dict[str, str]:
    """Return the reason of each announced break by the change's id; raises `UnreadableError` for anything else."""
    try:
        said = yaml.safe_load((root / PATH).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnreadableError(f"{PATH} cannot be read: {error}") from None
    found: dict[str, str] = {}
    for entry in said if isinstance(said, list) else [] if said is None else [said]:
        change, reason = _entry(entry)
        if change in found:
            raise UnreadableError(f"{PATH} announces {change!r} twice.")
        found[change] = reason
    return found


def _entry(entry: Any) -> tuple[str, str]:
    if isinstance(entry, dict) and set(entry) == {"id", "reason"}:
        change, reason = entry["id"], entry["reason"]
        if isinstance(change, str) and isinstance(reason, str) and reason.strip(" ."):
            return change, reason.strip()
    raise UnreadableError(
        f"{PATH} is a list of entries of an `id` and a `reason`, both of them texts; {entry!r} is none."
    )


def stale(changes: Iterable[Change], reasons: dict[str, str]) -> list[str]:
    """Return the announced ids that no break of these changes has."""
    breaks = {change.id for change in changes if change.severity is Severity.BREAKING}
    return sorted(reasons.keys() - breaks)
