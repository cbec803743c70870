"""An upgrade under load: two versions of each service side by side, with migrations that expand and then contract."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from contract_gate.gate import report
from contract_gate.sources import load
from contracts.streams import PAYMENT_EVENTS
from mkstore.chaos.audit import read_events
from mkstore.chaos.store import SERVICE_NAMES, Store
from mkstore.stack.state_dir import ENVIRONMENTS_FILE
from tests.docs.recipes import Project
from tests.support.audited_load import AuditedLoad, audited_load
from tests.support.http_client import say
from tests.support.load_balancer import LoadBalancer
from tests.support.next_version import TODAY, next_version, version_after_next
from tests.support.running_store import MKSTORE, running
from tests.support.service_processes import run_service

_SETTINGS = {"RATE_LIMIT_ENABLED": "false", "LOG_LEVEL": "WARNING", "OTEL_SDK_DISABLED": "true"}
_REPLICAS = 2


@dataclass
class BalancedStore(Store):
    """A store whose gateways stand behind a load balancer."""

    balancer: LoadBalancer = field(default_factory=LoadBalancer)

    @property
    def url(self) -> str:
        """Address of the balancer."""
        return self.balancer.url


class Deployment:
    """The replicas of each service, in the order of their start; each is one process of a version."""

    def __init__(self, store: BalancedStore, folder: Path, stack: AsyncExitStack) -> None:
        self.store = store
        self._folder = folder
        self._stack = stack
        self._environments: Mapping[str, dict[str, str]] = json.loads((store.home / ENVIRONMENTS_FILE).read_text())
        self._replicas: dict[str, list[tuple[AsyncExitStack, int]]] = {name: [] for name in SERVICE_NAMES}

    async def start(self, service: str, root: Path) -> None:
        """Start a replica of the version below `root`, and let it serve once it is ready."""
        own = await self._stack.enter_async_context(AsyncExitStack())
        environment = self._environments[service] | _SETTINGS
        process = await own.enter_async_context(run_service(service, self._folder, environment, root=root))
        await process.wait_ready()
        port = urlsplit(str(process.http.base_url)).port or 0
        self._replicas[service].append((own, port))
        if service == "gateway":
            self.store.balancer.add(port)

    async def stop_oldest(self, service: str) -> None:
        """Stop the replica that runs for the longest time, as a rolling update does."""
        own, port = self._replicas[service].pop(0)
        if service == "gateway":
            self.store.balancer.remove(port)
        await own.aclose()

    async def replace_one_of_each(self, root: Path) -> None:
        """Start one replica of each service in a new version, and stop an old one."""
        await asyncio.gather(*(self.start(service, root) for service in SERVICE_NAMES))
        for service in SERVICE_NAMES:
            await self.stop_oldest(service)

    async def migrate(self, root: Path) -> None:
        """Run the migrations of the version below `root`."""
        for service in ("users", "payments"):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "alembic", "-c", f"apps/{service}/alembic.ini", "upgrade", "head"),
                env={**self._environments[service], "PYTHONPATH": str(root)},
                cwd=root,
                stderr=asyncio.subprocess.PIPE,
            )
            _, errors = await process.communicate()
            assert process.returncode == 0, errors.decode()


@asynccontextmanager
async def deployed(home: Path, folder: Path) -> AsyncIterator[Deployment]:
    """Run two replicas of each service of today, behind a balancer, on the servers of the store in `home`."""
    store = BalancedStore(home, folder / "output")
    await store.balancer.start()
    try:
        async with AsyncExitStack() as stack:
            deployment = Deployment(store, folder, stack)
            for _ in range(_REPLICAS):
                await asyncio.gather(*(deployment.start(service, TODAY) for service in SERVICE_NAMES))
            yield deployment
    finally:
        await store.balancer.stop()


@pytest.fixture
def home() -> Iterator[Path]:
    """Return the state folder of a running NATS and PostgreSQL, with today's streams and schemas."""
    with tempfile.TemporaryDirectory(prefix="mkstore-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL may run as another user, which must be able to traverse it
        home = Path(folder) / "home"
        options = ("--home", str(home), "--only", "nats,postgres", "--port", "0")
        with running(*options, command=(MKSTORE, "up")):
            yield home


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Project]:
    """Return the next version, and the one after it."""
    folder = tmp_path_factory.mktemp("versions")
    return next_version(folder / "next"), version_after_next(folder / "after")


@pytest.mark.timeout(600)  # it starts 13 processes
async def test_upgrade_under_load_fails_no_request(home: Path, later: tuple[Project, Project], tmp_path: Path) -> None:
    new, contracted = (version.root for version in later)
    async with deployed(home, tmp_path) as deployment:
        async with audited_load(deployment.store, payers=8, rate=20, probes=True, changes_users=True) as load:
            await _more(load)
            await deployment.migrate(new)  # expands: the old version works on
            await _more(load)
            await deployment.start("payments", TODAY)  # the old version also starts on it
            await deployment.stop_oldest("payments")
            await deployment.replace_one_of_each(new)
            await _more(load)  # two versions of each service
            await deployment.replace_one_of_each(new)
            await deployment.migrate(contracted)  # no process of the old version is left
            await _more(load)
        say(f"upgrade: {len(load.ledger.answers)} requests, {load}")
        assert not load.ledger.refusals, [operation for _, operation, done in load.ledger.answers if not done]
        assert await _channels(deployment.store) == {"unknown", "http"}
        assert await _published_channels(deployment.store) == {None, "http"}


def test_contract_of_the_next_version_passes_the_gate(later: tuple[Project, Project]) -> None:
    project, _ = later
    project.run("-c", "from mkstore.cli.main import app; app(['docs'])")
    compared = report(project.root, str(TODAY), load(project.root, str(project.root)))
    assert compared.passes, compared.text()
    assert "payments.create" in compared.text()


async def _more(load: AuditedLoad, number: int = 40) -> None:
    """Wait until more payments are accepted."""
    await load.wait_until_accepted(load.ledger.accepted + number)


async def _channels(store: Store) -> set[str]:
    async with store.database("payments_db") as connection:
        return {row["channel"] for row in await connection.fetch("SELECT DISTINCT channel FROM payments")}


async def _published_channels(store: Store) -> set[str | None]:
    async with store.jetstream() as jetstream:
        events, _ = await read_events(jetstream, PAYMENT_EVENTS.name, 1)
    return {event.body.get("channel") for event in events}
