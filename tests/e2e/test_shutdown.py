"""The store is told to end in the middle of the work, as a whole and part by part."""

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import NO_LIMITS
from tests.support.http_client import calling, say, sign_up
from tests.support.payment_load import Till
from tests.support.polling import eventually
from tests.support.recovery import wait_until_replaced
from tests.support.running_store import Running, running
from tests.support.store_audit import audit_payments


@pytest.fixture
def home() -> Iterator[Path]:
    """Return the home of a store that is started twice."""
    with tempfile.TemporaryDirectory(prefix="mkstore-") as folder:
        # Whoever PostgreSQL runs as must get to its data.
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


async def test_a_store_that_is_stopped_under_load_loses_nothing(home: Path) -> None:
    with running("--home", str(home), "--port", "0", env=NO_LIMITS) as mkstore:
        async with calling(mkstore) as http:
            till = await Till.opened(http, 16, 2000)
            paying = asyncio.create_task(till.pay_all())
            await till.wait_until_accepted(400)
            mkstore.look_around()
            began = time.monotonic()
            mkstore.process.send_signal(signal.SIGTERM)
            await eventually(lambda: mkstore.process.poll() is not None, within=40, or_else=lambda: mkstore.text)
            seconds = time.monotonic() - began
            till.closed = True
            await paying
        assert mkstore.process.returncode == 0, mkstore.text
        mkstore.wait_until_nothing_is_left()
        assert "is killed" not in mkstore.text
    assert not (home / "run.json").exists()
    with running("--home", str(home), "--port", "0", env=NO_LIMITS) as mkstore:
        figures = await audit_payments(mkstore, till)
    say(f"SIGTERM under load: exit code 0 after {seconds:.1f} s, no process left; after the next start {figures}")


@pytest.mark.parametrize("name", ["payments", "users"])
async def test_a_service_that_is_restarted_under_load_loses_nothing(battered: Running, name: str) -> None:
    async with calling(battered) as http:
        till = await Till.opened(http, 8, 400)
        paying = asyncio.create_task(till.pay_all())
        await till.wait_until_accepted(100)
        pid = battered.record[name]["pid"]
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        await wait_until_replaced(battered, name, pid)
        seconds = time.monotonic() - began
        await paying
        figures = await audit_payments(battered, till)
    assert f"{name} did not stop" not in battered.text
    say(f"SIGTERM {name}: ready again after {seconds:.1f} s; {figures}; slowest answer {till.slowest:.1f} s")
    if name == "users":
        assert not till.refusals, "payments do not need the users service"
    if name == "payments":
        assert set(till.refusals) <= {"503 service-unavailable"}, "only reads fail, and they fail at once"


@pytest.mark.parametrize("name", ["payments", "users"])
async def test_a_restart_of_one_of_two_workers_under_load_fails_no_request(two_workers: Running, name: str) -> None:
    async with calling(two_workers) as http:
        till = await Till.opened(http, 8, 400, look_at_each=1)
        ada = await sign_up(http)
        paying = asyncio.create_task(till.pay_all())
        await till.wait_until_accepted(100)
        before = two_workers.record[name]["pids"]
        os.kill(before[0], signal.SIGTERM)
        seen: Counter[int] = Counter()

        async def restarted() -> bool:
            seen[(await ada("GET", "/users/me")).status_code] += 1
            now = two_workers.record[name]["pids"]
            return len(now) == len(before) and now != before

        await eventually(restarted, within=60)
        await paying
        figures = await audit_payments(two_workers, till)
    say(f"SIGTERM one of two {name} workers: {figures}; GET /users/me meanwhile: {dict(seen)}")
    assert not till.refusals
    assert seen.keys() == {200}
