"""Golden messages: one of each kind per version, recorded from a running store."""

import json
import os
from collections.abc import Mapping

from kit.asyncapi.specification import VERSION
from tests.conftest import ROOT
from tests.support.wire_tap import WireMessage

GOLDEN = ROOT / "tests" / "contracts" / "golden" / VERSION
RECORD = "RECORD_GOLDEN"
"""Environment variable that makes a test record a golden message for each message that has none."""


def check_golden(examples: Mapping[str, WireMessage]) -> None:
    """Fail if a message has no golden one, or record it if the environment requests that."""
    missing = {name: message for name, message in examples.items() if not (GOLDEN / f"{name}.json").exists()}
    if os.environ.get(RECORD):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for name, message in missing.items():
            golden = {"subject": message.subject, "headers": message.headers, "body": json.loads(message.body)}
            (GOLDEN / f"{name}.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", "utf-8")
    else:
        assert not missing, f"no golden message of {sorted(missing)}: {RECORD}=1 records it"
