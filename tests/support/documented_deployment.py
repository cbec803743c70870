"""The commands of docs/kubernetes.md for secrets and certificates, carried out without a cluster."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.conftest import ROOT
from tests.support.kubernetes import KUBECTL

_WITHOUT_CLUSTER = f"""\
set -euo pipefail
made=0
uv() {{ shift; "$@"; }}
kubectl() {{
  made=$((made + 1))
  case $1 in
    create) {KUBECTL} "$@" --dry-run=client --output yaml >"resources/$made.yaml" ;;
    apply | label) ;;
    *) return 1 ;;
  esac
}}
"""


class Documented(NamedTuple):
    """What the commands of docs/kubernetes.md for secrets and certificates have made."""

    folder: Path
    resources: Mapping[tuple[str, str, str], Mapping[str, str]]
    """The content of each Secret and ConfigMap by kind, namespace and name; that of Secrets in Base64."""

    def keys(self, kind: str, namespace: str, name: str) -> set[str]:
        """Return the names of the files in a Secret or a ConfigMap."""
        return set(self.resources[kind, namespace, name])


def carry_out(folder: Path) -> Documented:
    """Run the commands in an empty folder; those that change a cluster have no effect."""
    page = (ROOT / "docs/kubernetes.md").read_text()
    section = page.partition("## Production")[2].partition("**3. NATS**")[0]
    blocks = re.findall(r"^```bash\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    (folder / "resources").mkdir()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", _WITHOUT_CLUSTER + "".join(blocks)],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = [yaml.safe_load(file.read_text()) for file in (folder / "resources").iterdir()]
    found = {
        (each["kind"], each["metadata"]["namespace"], each["metadata"]["name"]): each["data"]
        for each in made
        if "data" in each
    }
    return Documented(folder, found)
