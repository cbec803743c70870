"""The services of this project: the one list that everything which needs all of them reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contracts.shards import ONLY, Shard, Shards
from contracts.streams import is_sharded
from mkstore.generated import ROOT

MAX_PROCESSES = 4
"""Processes of a service that `mkstore up` starts by itself; each takes about 80 MB."""


@dataclass(frozen=True)
class ServiceSpec:
    """A service: its application, its database if it owns one, and the alembic.ini that migrates that database.

    A service that `keeps_keys` gets `JWT_SECRET`, which encrypts its signing keys. `root` is the folder from which its
    modules are imported. `mkstore up` starts one process for each `cores_per_process`, at least one.
    """

    name: str
    app: str
    database: str | None = None
    migrations: Path | None = None
    keeps_keys: bool = False
    root: Path = ROOT
    cores_per_process: int = 4
    shard: Shard = ONLY

    @property
    def service(self) -> str:
        """The service, without the name of a shard: its NATS login and its database role."""
        return self.name.partition("-")[0] if self.shard.name else self.name

    def of(self, shard: Shard) -> "ServiceSpec":
        """Return the process of a shard, with a separate database, such as `payments_0of2_db`."""
        database = self.database and shard.suffixed(self.database.removesuffix("_db"), "_") + "_db"
        return replace(self, name=shard.suffixed(self.name, "-"), database=database, shard=shard)

    def processes_on(self, cores: int) -> int:
        """Return the number of processes on a machine with this number of cores; see docs/adr/0023-processes.md."""
        return min(MAX_PROCESSES, max(1, cores // self.cores_per_process))


SERVICES = (
    ServiceSpec("users", "apps.users.main:app", "users_db", ROOT / "apps/users/alembic.ini", keeps_keys=True),
    ServiceSpec("payments", "apps.payments.main:app", "payments_db", ROOT / "apps/payments/alembic.ini"),
    ServiceSpec("gateway", "apps.gateway.main:app", cores_per_process=2),
)
"""Every service in start order; the gateway is last."""


def of_shards(specs: Sequence[ServiceSpec], shards: Shards) -> list[ServiceSpec]:
    """Return `specs` with a sharded service once for each of several shards."""
    if shards.count == 1:
        return list(specs)
    return [
        placed
        for spec in specs
        for placed in ([spec.of(shard) for shard in shards.all] if is_sharded(f"{spec.name}.*") else [spec])
    ]


SECRET_VARIABLES = ("NATS_URL", "DB_PASSWORD", "JWT_SECRET", "LIVE_NATS_URL", "RATE_LIMIT_STORAGE", "TRACES_URL")
"""The secrets of all services, each of which `<NAME>_FILE` may give in a file."""
