"""The README's session works as printed, word for word."""

import os
import re
import subprocess

from tests.conftest import ROOT
from tests.support.running_store import Running

_BLOCK = re.compile(r"<!-- a test runs this block as it is printed -->\n```bash\n(.*?)```", re.DOTALL)


def test_the_readmes_session_works_as_printed(store: Running) -> None:
    (block,) = _BLOCK.findall((ROOT / "README.md").read_text())
    session = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        env={"PATH": os.environ["PATH"], "STORE": store.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = session.stdout
    assert session.returncode == 0, said + session.stderr
    assert said.count("HTTP/1.1 202 Accepted") == 2
    assert said.count("idempotent-replayed: true") == 1
    assert said.count("HTTP/1.1 201 Created") == 1
    assert "preference-applied: wait=10" in said
    assert said.count("event: payment.created") == 2
    assert '"hasMore":false' in said
    # Not line by line: an event may be printed between an answer and the end of its line.
    accepted = re.findall(r'\{"id":[^{}]*\{[^{}]*\},"status":"pending"[^{}]*\}', said)
    assert len(accepted) == 2
    assert accepted[0] == accepted[1]
