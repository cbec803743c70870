"""nats-server with deploy/nats.conf and the keys of `mkstore nkeys` in place of passwords."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from contracts.logins import IMPORTED_API
from contracts.streams import REVOCATIONS
from kit.messaging.broker import Broker
from kit.ops import provisioning
from kit.runtime.client_security import ClientSecurity, LoginRefused
from mkstore.cli.main import app
from mkstore.nkeys import public_keys
from tests.conftest import ROOT
from tests.deploy.conftest import ConfiguredNats
from tests.support.polling import eventually

_DEADLINE = 30


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


class Keys:
    """The seeds of all logins, and the accounts with their public keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "nkeys"
        self.accounts = folder / "nats-accounts.conf"

    def change(self, *options: str) -> None:
        """Run `mkstore nkeys` and print the accounts again."""
        run("nkeys", str(self.folder), *options)
        self.accounts.write_text(run("accounts", "--nkeys", str(self.folder)))

    def seed(self, login: str) -> str:
        """Return the file of a login."""
        return str(self.folder / f"{login}.nk")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    keys = Keys(tmp_path)
    keys.change()
    return keys


@pytest.fixture
def server(tmp_path: Path, keys: Keys) -> Iterator[ConfiguredNats]:
    configuration = Path(shutil.copy(ROOT / "deploy/nats.conf", tmp_path))
    with ConfiguredNats(tmp_path, {}, configuration) as server:
        yield server


@asynccontextmanager
async def connected(server: ConfiguredNats, seed: str) -> AsyncIterator[Broker]:
    """Yield the connection of the users service with the seed in a file."""
    security = ClientSecurity(creds=seed)
    broker = Broker(f"nats://{server.address}", name="users", security=security, api_prefix=IMPORTED_API)
    try:
        await asyncio.wait_for(broker.start(), _DEADLINE)
        yield broker
    finally:
        await broker.stop()


async def reload(server: ConfiguredNats) -> None:
    """Let the server read its configuration again."""
    before = server.monitor("varz")["config_load_time"]
    assert server.pid
    os.kill(server.pid, signal.SIGHUP)
    await eventually(lambda: server.monitor("varz")["config_load_time"] != before)


async def test_key_is_a_login_with_the_rights_of_its_service(server: ConfiguredNats, keys: Keys) -> None:
    operator = ClientSecurity(creds=keys.seed("operator"))
    assert await provisioning.provision(f"nats://{server.address}", provisioning.sizes_in({}), operator)
    async with connected(server, keys.seed("users")) as broker:
        await broker.check_streams([REVOCATIONS])
        await broker.client.publish("foreign")
        await eventually(lambda: broker.denied_since("foreign", 1))


async def test_new_keys_replace_the_former_ones_without_a_restart(
    server: ConfiguredNats, keys: Keys, tmp_path: Path
) -> None:
    former = Path(shutil.copy(keys.seed("users"), tmp_path / "former.nk"))
    async with connected(server, keys.seed("users")) as broker:
        keys.change("--renew")
        await reload(server)
        async with connected(server, str(former)):
            pass  # both keys are valid
        keys.change("--forget")
        await reload(server)
        await eventually(lambda: broker.client.stats["reconnects"] and broker.is_connected())
    with pytest.raises(LoginRefused):
        async with connected(server, str(former)):
            pass


def test_keys_that_exist_are_kept_and_only_their_owner_reads_them(keys: Keys) -> None:
    before = {file.name: file.read_text() for file in keys.folder.iterdir()}
    keys.change()
    assert {file.name: file.read_text() for file in keys.folder.iterdir()} == before
    assert {file.stat().st_mode & 0o777 for file in keys.folder.iterdir()} == {0o600}


def test_accounts_have_both_keys_until_the_former_one_is_forgotten(keys: Keys) -> None:
    (first,) = public_keys(keys.folder, ["users"])["users"]
    keys.change("--renew")
    second, previous = public_keys(keys.folder, ["users"])["users"]
    assert previous == first != second
    keys.change("--forget")
    assert public_keys(keys.folder, ["users"])["users"] == [second]


@pytest.mark.parametrize("content", [None, "no seed"])
def test_missing_or_wrong_seed_is_named(keys: Keys, content: str | None) -> None:
    seed = Path(keys.seed("users"))
    seed.unlink() if content is None else seed.write_text(content)
    for arguments in (["accounts", "--nkeys", str(keys.folder)], ["nkeys", str(keys.folder), "--renew"]):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 1
        assert str(seed) in done.output.replace("\n", "")
