"""Announced breaking changes: `asyncapi/announced.yaml`, written by hand, one reason for each change."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from contract_gate.changes import Change, Severity
from contract_gate.references import UnreadableError

PATH = "asyncapi/announced.yaml"
_NEVER_ANNOUNCED = frozenset({"version-not-raised"})
"""Rules of breaks that no announcement excuses: readers could not tell the two schemas of an event apart."""


def announced(root: Path, path: str = PATH) -> dict[str, str]:
    """Return the reason of each announced breaking change by the change's id; empty without a file.

    Raises `UnreadableError` if the file is not a list of entries with an id and a reason.
    """
    try:
        entries = yaml.safe_load((root / path).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnreadableError(f"{path} cannot be read: {error}") from None
    reasons: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else [] if entries is None else [entries]:
        change, reason = _entry(path, entry)
        if change in reasons:
            raise UnreadableError(f"{path} announces {change!r} twice.")
        reasons[change] = reason
    return reasons


def _entry(path: str, entry: Any) -> tuple[str, str]:
    if isinstance(entry, dict) and set(entry) == {"id", "reason"}:
        change, reason = entry["id"], entry["reason"]
        if isinstance(change, str) and isinstance(reason, str) and reason.strip(" ."):
            return change, reason.strip()
    raise UnreadableError(f"{path} must be a list of entries with a text `id` and a text `reason`; got {entry!r}.")


def can_be_announced(change: Change) -> bool:
    """Return whether an announcement lets this change pass."""
    return change.severity is Severity.BREAKING and change.rule not in _NEVER_ANNOUNCED


def stale(changes: Iterable[Change], reasons: dict[str, str]) -> list[str]:
    """Return the announced ids that match none of the changes that can be announced, sorted."""
    breaks = {change.id for change in changes if can_be_announced(change)}
    return sorted(reasons.keys() - breaks)
