"""Compare the current documents with an earlier version."""

from pathlib import Path

from contract_gate import announcements, releases, sources
from contract_gate.changes import Change, worst_first
from contract_gate.events import compare_events
from contract_gate.http import compare_http
from contract_gate.references import UnreadableError
from contract_gate.report import Report
from contract_gate.sources import Documents


class NothingReleasedError(UnreadableError):
    """No release to compare with."""


def old_side(root: Path, against: str) -> tuple[str, Documents]:
    """Return the display name and the documents of `against`.

    `against` is "release" for the newest release, a file, a folder, or a git revision in `root`. Raises
    `UnreadableError` if there are no such documents.
    """
    if against != releases.NEWEST:
        return against, sources.load(root, against)
    folder = releases.newest(root)
    if folder is None:
        raise NothingReleasedError(f"No release: {releases.FOLDER} contains no version.")
    return f"release {folder.name}", sources.load(root, str(folder))


def compare(old: Documents, new: Documents, context: Documents | None = None) -> list[Change]:
    """Return all changes from one version to the other, worst first.

    `context` are documents that are not compared but whose operations may be affected. Raises `UnreadableError` if a
    document is malformed.
    """
    changes = list(compare_events(old.events, new.events, context.events if context else ()))
    apis = {sources.name_of(document): document for document in new.http}
    for before in old.http:
        name = sources.name_of(before)
        after = apis.get(name, {"openapi": before["openapi"], "info": before.get("info", {})})
        changes += compare_http(before, after)
    return worst_first(changes)


def report(root: Path, against: str, new: Documents, announced_in: str = announcements.PATH) -> Report:
    """Compare the documents `new` with those of `against`.

    `announced_in` is the path of the announcements below `root`. They belong to the next release, so only a comparison
    with the last release reports stale ones. Raises `UnreadableError` if something cannot be read.
    """
    name, old = old_side(root, against)
    compared = sources.only_counterparts(new, old) if Path(against).is_file() else new
    reasons = announcements.announced(root, announced_in)
    changes = compare(old, compared, context=new)
    stale = announcements.stale(changes, reasons) if against == releases.NEWEST else []
    return Report(name, changes, reasons, stale)
