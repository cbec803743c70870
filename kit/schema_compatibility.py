"""Which code works with the schema of a database: a note that migrations leave there, and its meaning.

See docs/adr/0046-upgrades.md.
"""

from collections.abc import Collection

_NOTE = "works with code from revision "
READ_NOTE = "SELECT obj_description(to_regclass('alembic_version'), 'pg_class')"
"""Returns the note: a comment on the table in which Alembic keeps the revision."""


def note(oldest: str) -> str:
    """Return the note for a schema that works with code of the revision `oldest` and all later ones."""
    return f"{_NOTE}{oldest}"


def works_with(current: Collection[str], note: str | None, expected: str) -> bool:
    """Return whether code that expects one revision works with a database.

    `current` has the revisions of the database, of which there should be one. A newer one works if its note allows it.
    Revisions are numbers of equal length.
    """
    if list(current) == [expected]:
        return True
    oldest = note.removeprefix(_NOTE) if note and note.startswith(_NOTE) else None
    return len(current) == 1 and oldest is not None and oldest <= expected < next(iter(current))
