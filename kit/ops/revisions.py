"""The revisions of a service's migrations, without Alembic and SQLAlchemy, which are slow to import."""

import ast
from pathlib import Path

from kit.errors import CannotStart


def newest_revision(migrations: Path) -> str:
    """Return the revision that no other revision follows.

    Reads the files in `migrations`/versions: importing Alembic would make each start 0.1 s slower. Raises `CannotStart`
    if there is not exactly one such revision.
    """
    followed: set[str] = set()
    revisions = _revisions(migrations)
    for constants in revisions.values():
        previous = constants.get("down_revision") or ()
        followed.update([previous] if isinstance(previous, str) else previous)
    newest = sorted(revisions.keys() - followed)
    if len(newest) != 1:
        raise CannotStart(f"{migrations} must have exactly one newest revision; it has {', '.join(newest) or 'none'}.")
    return newest[0]


def known_revisions(migrations: Path) -> frozenset[str]:
    """Return every revision in `migrations`/versions."""
    return frozenset(_revisions(migrations))


def _revisions(migrations: Path) -> dict[str, dict[str, str | tuple[str, ...] | None]]:
    """Return the constants of each file, by its revision."""
    files = [_constants(file) for file in (migrations / "versions").glob("*.py")]
    return {str(constants.get("revision")): constants for constants in files}


def _constants(file: Path) -> dict[str, str | tuple[str, ...] | None]:
    constants = {}
    for statement in ast.parse(file.read_text()).body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in {"revision", "down_revision"}:
                    constants[target.id] = ast.literal_eval(statement.value)
    return constants
