"""The result of a comparison, as text and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contract_gate.announcements import PATH, can_be_announced
from contract_gate.changes import Change, Severity


@dataclass(frozen=True)
class Report:
    """The changes since `against`, the announced reasons by change id, and the stale announcements."""

    against: str
    changes: Sequence[Change]
    reasons: dict[str, str]
    stale: Sequence[str]

    @property
    def passes(self) -> bool:
        """Whether every breaking change is announced and no announcement is stale."""
        return not self._of(Severity.BREAKING, announced=False) and not self.stale

    def data(self) -> dict[str, Any]:
        """Return the report as JSON data."""
        return {
            "against": self.against,
            "passes": self.passes,
            "changes": [
                {
                    "id": change.id,
                    "severity": change.severity.value,
                    "message": change.message,
                    "affects": list(change.affects),
                    "announced": self._reason(change),
                }
                for change in self.changes
            ],
            "stale": list(self.stale),
        }

    def text(self) -> str:
        """Return the report as text, worst changes first."""
        groups = {
            "breaking": self._of(Severity.BREAKING, announced=False),
            "breaking, announced": self._of(Severity.BREAKING, announced=True),
            "risky": self._of(Severity.RISKY),
            "safe": self._of(Severity.SAFE),
        }
        counts = ", ".join(f"{len(members)} {name}" for name, members in groups.items() if members) or "no changes"
        parts = [f"Since {self.against}: {counts}."]
        for name, members in groups.items():
            if members:
                parts.append("\n".join([name.upper(), *(self._entry(change) for change in members)]))
        parts += [
            f"{PATH} announces {change!r}, which is not a breaking change since {self.against}: remove it."
            for change in self.stale
        ]
        if announceable := [change for change in groups["breaking"] if can_be_announced(change)]:
            parts.append(
                "Put a breaking change into a new message on a new subject, beside the old one. "
                f"To break clients on purpose, announce it in {PATH}:\n{_entries(announceable)}"
            )
        if len(announceable) < len(groups["breaking"]):
            parts.append(
                "An event with an incompatible schema needs another version in `ce-dataschema`, "
                "also if its changes are announced."
            )
        return "\n\n".join(parts)

    def _of(self, severity: Severity, *, announced: bool | None = None) -> list[Change]:
        return [
            change
            for change in self.changes
            if change.severity is severity and (announced is None or announced == (self._reason(change) is not None))
        ]

    def _reason(self, change: Change) -> str | None:
        return self.reasons.get(change.id) if can_be_announced(change) else None

    def _entry(self, change: Change) -> str:
        lines = [f"  {change.id}", f"      {change.message}"]
        if change.severity is not Severity.SAFE:
            lines.append(f"      affects: {', '.join(change.affects) or 'no documented operation'}")
        if (reason := self._reason(change)) is not None:
            lines.append(f"      announced: {reason}")
        return "\n".join(lines)


def _entries(changes: Sequence[Change]) -> str:
    # The ids contain a colon, so they must be quoted in YAML.
    return "\n".join(f"- id: {_quoted(change.id)}\n  reason: ..." for change in changes)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
