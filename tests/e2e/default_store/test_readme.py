"""The session in the README works as printed, and its table names addresses that exist."""

import os
import re
import subprocess

import httpx

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


def test_addresses_in_the_readme_exist(store: Running) -> None:
    text = (ROOT / "README.md").read_text()
    pages = re.findall(r"http://127\.0\.0\.1:3000(/[\w/.-]+)", text)
    rows = {
        path: row
        for row in re.findall(r"^\| `/.*$", text, re.MULTILINE)
        for path in re.findall(r"`(/[\w/<>.-]+)`", row)
    }
    assert {"/docs", "/asyncapi", "/llms.txt", "/health", "/metrics"} <= {*pages, *rows}
    for path in {*pages, *rows}:
        services = ["users", "payments"] if "users and payments" in rows.get(path, "") else ["gateway"]
        for service in services:
            answer = httpx.get(store.record[service]["url"] + path, timeout=10, trust_env=False)
            assert answer.status_code == 200, path
