"""The table of subjects in a service's README."""

import re

from mkstore.new.plan import CannotChange, Draft

ROWS = ("Replies to", "Consumes", "Subscribes to", "Publishes", "Requests", "Dead-letters to")
_HEADER = "| role | subjects |\n|---|---|\n"
_ROW = re.compile(r"\| ([^|]+) \| (.*) \|\n")


def add_subject(draft: Draft, service: str, role: str, cell: str) -> None:
    """Add a cell to the row of a role, in alphabetical order; the row is added if there is none."""
    path = f"apps/{service}/README.md"
    text = draft.read(path)
    before, header, after = text.partition(_HEADER)
    if not header:
        raise CannotChange(f"{path} has no table of roles and subjects: nothing was changed.")
    rows: dict[str, list[str]] = {}
    while match := _ROW.match(after):
        rows[match[1]] = match[2].split(", ")
        after = after[match.end() :]
    rows[role] = sorted({*rows.get(role, []), cell})
    table = "".join(f"| {row} | {', '.join(rows[row])} |\n" for row in ROWS if row in rows)
    draft.change(path, f"{before}{header}{table}{after}")
