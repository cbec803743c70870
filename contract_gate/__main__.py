"""`python -m contract_gate OLD NEW`: compare two versions of AsyncAPI and OpenAPI documents."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from contract_gate import announcements, sources
from contract_gate.gate import compare
from contract_gate.references import UnreadableError
from contract_gate.report import Report


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the changes from OLD to NEW and return the exit code.

    0: no unannounced breaking change; 1: there is one; 2: a document or the announcements cannot be read.
    """
    parser = argparse.ArgumentParser(prog="python -m contract_gate", description=__doc__)
    version = "a file, a folder with documents or with asyncapi/ and openapi/, or a git revision"
    parser.add_argument("old", metavar="OLD", help=version)
    parser.add_argument("new", metavar="NEW", help=version)
    parser.add_argument("--announced", metavar="FILE", default=announcements.PATH, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    try:
        report = _report(Path.cwd(), options.old, options.new, options.announced)
    except UnreadableError as error:
        print(error, file=sys.stderr)  # noqa: T201 - this is a command
        return 2
    print(json.dumps(report.data(), indent=2, ensure_ascii=False) if options.json else report.text())  # noqa: T201 - as above
    return 0 if report.passes else 1


def _report(root: Path, old: str, new: str, announced_in: str) -> Report:
    before, after = sources.load(root, old), sources.load(root, new)
    compared = sources.only_counterparts(after, before) if Path(old).is_file() else after
    reasons = announcements.announced(root, announced_in)
    return Report(old, compare(before, compared, context=after), reasons, [])


if __name__ == "__main__":
    sys.exit(main())
