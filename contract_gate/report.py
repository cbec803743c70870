"""What a comparison found, for people and for programs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contract_gate.announcements import PATH
from contract_gate.changes import Change, Severity


@dataclass(frozen=True)
class Report:
    """The changes since `against`, the reasons of those that are announced, and announcements of nothing."""

    against: str
    changes: Sequence[Change]
    reasons: dict[str, str]
    stale: Sequence[str]

    @property
    def passes(self) -> bool:
        """Whether nobody is broken unawares, and nothing is announced that is not so."""
        return not self._of(Severity.BREAKING, announced=False) and not self.stale

    def data(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "against": self.against,
            "passes": self.passes,
            "changes": [
                {
                    "id": change.id,
                    "severity": change.severity.value,
                    "sentence": change.sentence,
                    "hits": list(change.hits),
                    "announced": self._reason(change),
                }
                for change in self.changes
            ],
            "stale": list(self.stale),
        }

    def text(self) -> str:
        """Return it for people, the worst first."""
        groups = {
            "breaking": self._of(Severity.BREAKING, announced=False),
            "breaking, as announced": self._of(Severity.BREAKING, announced=True),
            "risky": self._of(Severity.RISKY),
            "safe": self._of(Severity.SAFE),
        }
        counts = ", ".join(f"{len(found)} {name}" for name, found in groups.items() if found) or "no change"
        parts = [f"Since {self.against}: {counts}."]
        for name, found in groups.items():
            if found:
                parts.append("\n".join([name.upper(), *(self._entry(change) for change in found)]))
        parts += [
            f"{PATH} announces {change!r}, which is no break since {self.against}: remove it." for change in self.stale
        ]
        if groups["breaking"]:
            parts.append(
                "What breaks gets a new class on a new subject, beside the old one (CONTRIBUTING.md). "
                f"If a break is meant, announce it in {PATH}:\n{_entries(groups['breaking'])}"
            )
        return "\n\n".join(parts)

    def _of(self, severity: Severity, *, announced: bool | None = None) -> list[Change]:
        return [
            change
            for change in self.changes
            if change.severity is severity and (announced is None or announced == (change.id in self.reasons))
        ]

    def _reason(self, change: Change) -> str | None:
        return self.reasons.get(change.id) if change.severity is Severity.BREAKING else None

    def _entry(self, change: Change) -> str:
        lines = [f"  {change.id}", f"      {change.sentence}"]
        if change.severity is not Severity.SAFE:
            lines.append(f"      hits: {', '.join(change.hits) or 'nobody that is documented here'}")
        if (reason := self._reason(change)) is not None:
            lines.append(f"      announced: {reason}")
        return "\n".join(lines)


def _entries(changes: Sequence[Change]) -> str:
    # An id has a colon in it, which plain YAML would take for a key's.
    return "\n".join(f"- id: {_quoted(change.id)}\n  reason: ..." for change in changes)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
