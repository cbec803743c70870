"""The gate: what the code says now against what was said before."""

from pathlib import Path

from contract_gate import announcements, releases, sources
from contract_gate.changes import Change, worst_first
from contract_gate.events import compare_events
from contract_gate.http import compare_http
from contract_gate.references import UnreadableError
from contract_gate.report import Report
from contract_gate.sources import Documents


class NothingReleasedError(UnreadableError):
    """There is no release to compare with."""


def old_side(root: Path, against: str) -> tuple[str, Documents]:
    """Return what `against` names in a sentence, and its documents; raises `UnreadableError`.

    `against` is "release" for the newest one, a file, a folder, or a revision of git in `root`.
    """
    if against != releases.NEWEST:
        return against, sources.load(root, against)
    folder = releases.newest(root)
    if folder is None:
        raise NothingReleasedError(f"Nothing is released: {releases.FOLDER} holds no version.")
    return f"release {folder.name}", sources.load(root, str(folder))


def compare(old: Documents, new: Documents, around: Documents | None = None) -> list[Change]:
    """Return every change from one version to the other, the worst first; raises `UnreadableError`.

    `around` are documents that are not compared, whose operations are hit as well.
    """
    changes = list(compare_events(old.events, new.events, around.events if around else ()))
    https = {document.get("info", {}).get("title"): document for document in new.http}
    for before in old.http:
        after = https.get(before.get("info", {}).get("title"), {"openapi": before["openapi"], "info": before["info"]})
        changes += compare_http(before, after)
    return worst_first(changes)


def report(root: Path, against: str, new: Documents) -> Report:
    """Compare what the code says now with `against`; raises `UnreadableError`.

    Announcements tell what the next release breaks: only a comparison with the last one shows one that is of nothing.
    """
    name, old = old_side(root, against)
    compared = sources.only_counterparts(new, old) if Path(against).is_file() else new
    reasons = announcements.announced(root)
    changes = compare(old, compared, around=new)
    stale = announcements.stale(changes, reasons) if against == releases.NEWEST else []
    return Report(name, changes, reasons, stale)
