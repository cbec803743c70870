"""`mkstore up` with fake services: `launch.py PORT HOME WORKERS [ephemeral] [SERVICE ...]`; all three by default.

`without:SERVICE` leaves one out, `reload:FOLDER` restarts them when a file there changes.
"""

import sys
from pathlib import Path

from mkstore.services import ServiceSpec
from mkstore.stack.console import run
from mkstore.stack.plan import Options

HERE = Path(__file__).parent
SPECS = [
    ServiceSpec("users", "fake_service:app", "users_db", keeps_keys=True, root=HERE),
    ServiceSpec("payments", "fake_service:app", "payments_db", root=HERE),
    ServiceSpec("gateway", "fake_service:app", root=HERE),
]

if __name__ == "__main__":
    port, home, workers, *names = sys.argv[1:]
    left_out = {name.removeprefix("without:") for name in names if name.startswith("without:")}
    started = frozenset({spec.name for spec in SPECS} - left_out)
    watched = tuple(Path(name.removeprefix("reload:")) for name in names if name.startswith("reload:"))
    options = Options(int(port), Path(home) if home else None, "ephemeral" in names, int(workers), started, watched)
    sys.exit(run(options, [spec for spec in SPECS if spec.name in names] or SPECS))
