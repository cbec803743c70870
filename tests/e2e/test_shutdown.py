"""A whole store that is stopped under load."""

import asyncio
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import NO_LIMITS
from tests.support.http_client import calling, say
from tests.support.payment_load import PaymentLoad
from tests.support.polling import eventually
from tests.support.running_store import running
from tests.support.store_audit import audit_payments


@pytest.fixture
def home() -> Iterator[Path]:
    """Return the home folder of a store that is started twice."""
    with tempfile.TemporaryDirectory(prefix="mkstore-") as folder:
        # The account that PostgreSQL runs as must reach its data.
        Path(folder).chmod(0o711)
        yield Path(folder) / "home"


async def test_store_stopped_under_load_loses_no_payment(home: Path) -> None:
    with running("--home", str(home), "--port", "0", env=NO_LIMITS) as mkstore:
        async with calling(mkstore) as http:
            load = await PaymentLoad.create(http, 16, 2000)
            paying = asyncio.create_task(load.run())
            await load.wait_until_accepted(200)
            mkstore.look_around()
            mkstore.process.send_signal(signal.SIGTERM)
            await eventually(lambda: mkstore.process.poll() is not None, describe=lambda: mkstore.text)
            load.stopped = True
            await paying
        assert mkstore.process.returncode == 0, mkstore.text
        assert 200 <= load.accepted < len(load.attempts)
        mkstore.wait_until_nothing_is_left()
        assert "is killed" not in mkstore.text
    assert not (home / "run.json").exists()
    with running("--home", str(home), "--port", "0", env=NO_LIMITS) as mkstore:
        figures = await audit_payments(mkstore, load)
    say(f"SIGTERM under load: exit code 0, no process left; after the next start {figures}")
