"""The services of this project: the one list that everything which needs all of them reads."""

from dataclasses import dataclass
from pathlib import Path

from mkstore.generated import ROOT


@dataclass(frozen=True)
class ServiceSpec:
    """A service: its application, its database if it owns one, and the alembic.ini that migrates that database.

    A service that `keeps_keys` gets `JWT_SECRET`, which encrypts its signing keys. `root` is the folder from which its
    modules are imported.
    """

    name: str
    app: str
    database: str | None = None
    migrations: Path | None = None
    keeps_keys: bool = False
    root: Path = ROOT


SERVICES = (
    ServiceSpec("users", "apps.users.main:app", "users_db", ROOT / "apps/users/alembic.ini", keeps_keys=True),
    ServiceSpec("payments", "apps.payments.main:app", "payments_db", ROOT / "apps/payments/alembic.ini"),
    ServiceSpec("gateway", "apps.gateway.main:app"),
)
"""Every service in start order; the gateway is last."""
