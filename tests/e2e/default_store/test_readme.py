"""The session in the README works as printed."""

import os
import re
import subprocess

from tests.conftest import ROOT
from tests.support.running_store import Running

_BLOCK = re.compile(r"<!-- a test runs this block as it is printed -->\n```bash\n(.*?)```", re.DOTALL)


def test_readme_session_works_as_printed(store: Running) -> None:
    (block,) = _BLOCK.findall((ROOT / "README.md").read_text())
    session = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env={"PATH": os.environ["PATH"], "STORE": store.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    output = session.stdout
    assert session.returncode == 0, output + session.stderr
    assert output.count("HTTP/1.1 202 Accepted") == 2
    assert output.count("idempotent-replayed: true") == 1
    assert output.count("HTTP/1.1 201 Created") == 1
    assert "preference-applied: wait=10" in output
    assert output.count("event: payment.created") == 2
    assert '"hasMore":false' in output
    # Not line by line: an event may be printed between an answer and the end of its line.
    accepted = re.findall(r'\{"id":[^{}]*\{[^{}]*\},"status":"pending"[^{}]*\}', output)
    assert len(accepted) == 2
    assert accepted[0] == accepted[1]


def test_readme_session_needs_no_option_newer_than_curl_7_68() -> None:
    (block,) = _BLOCK.findall((ROOT / "README.md").read_text())
    assert not re.search(r"--(json|fail-with-body|url-query|variable)\b", block)
