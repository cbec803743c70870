"""A store whose NATS is encrypted: `mkstore up --tls`, and certificates that are renewed under load."""

import asyncio
import hashlib
import json
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from mkstore.services import SERVICES
from tests.support.http_client import calling, operator
from tests.support.polling import eventually
from tests.support.running_store import MKSTORE, Running, running
from tests.support.users_harness import PASSWORD, new_email

NAMES = {spec.name for spec in SERVICES}
RATE = 50
"""Requests per second."""


@pytest.fixture(scope="module")
def store() -> Iterator[Running]:
    # A request that the reload loses still fails; one that waits for a busy processor does not.
    settings = {"RATE_LIMIT_ENABLED": "false", "REQUEST_TIMEOUT": "30"}
    with running("--ephemeral", "--port", "0", "--workers", "1", "--tls", env=settings) as store:
        yield store


async def connections(store: Running) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=store.record["nats"]["monitor_url"], trust_env=False) as http:
        found: list[dict[str, Any]] = (await http.get("/connz?auth=1")).json()["connections"]
    return found


async def fingerprint(store: Running) -> str:
    """Return the SHA-256 of the certificate that NATS shows to a new connection."""
    security, address = store.record["nats"]["security"], urlsplit(store.record["nats"]["url"])
    context = ssl.create_default_context(cafile=security["NATS_CA"])
    context.load_cert_chain(security["NATS_CERT"], security["NATS_KEY"])
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()  # INFO
    await writer.start_tls(context, server_hostname=address.hostname)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return hashlib.sha256(certificate).hexdigest()


@asynccontextmanager
async def under_load(store: Running, statuses: Counter[int]) -> AsyncIterator[None]:
    """Read a user 50 times per second, and count the statuses."""
    async with calling(store) as http, asyncio.TaskGroup() as tasks:
        login = {"email": new_email(), "password": PASSWORD}
        await http.post("/users", json=login)
        token = (await http.post("/auth/sessions", json=login)).json()["accessToken"]

        async def read() -> None:
            response = await http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
            statuses[response.status_code] += 1

        async def load() -> None:
            while True:
                tasks.create_task(read())
                await asyncio.sleep(1 / RATE)

        loading = tasks.create_task(load())
        await eventually(lambda: statuses[200] > RATE)
        yield
        enough = statuses.total() + RATE
        await eventually(lambda: statuses.total() > enough)
        loading.cancel()


async def test_every_connection_is_encrypted_and_has_a_certificate_of_its_login(store: Running) -> None:
    found = await connections(store)
    assert {each["tls_version"] for each in found} == {"1.3"}
    subjects = {each["name"]: each["tls_peer_certs"][0]["subject"] for each in found if each["name"] in NAMES}
    assert subjects == {name: f"CN={name}" for name in NAMES}


async def test_operator_and_doctor_use_the_certificates_of_the_run(store: Running) -> None:
    await operator(store, "dead-letters", "list")
    await operator(store, "provision")
    await operator(store, "doctor")


async def test_certificates_are_renewed_without_a_failed_request(store: Running) -> None:
    """The server reads its files again at SIGHUP; who is connected stays so, with the old certificate."""
    before, open_before = await fingerprint(store), await connections(store)
    statuses = Counter[int]()
    async with under_load(store, statuses):
        await renew(store)
        psutil.Process(store.record["nats"]["pid"]).send_signal(signal.SIGHUP)

        async def is_renewed() -> bool:
            try:
                return await fingerprint(store) != before
            except OSError:  # a handshake that the busy server gave up
                return False

        await eventually(is_renewed)
        open_after = await connections(store)
    assert set(statuses) == {200}, statuses
    ids_before, ids = ({each["cid"] for each in found if each["name"] in NAMES} for found in (open_before, open_after))
    assert ids == ids_before


async def test_services_reconnect_with_their_renewed_certificates(store: Running) -> None:
    """They read their files again for each connection: no service has to be restarted."""

    async def certificates() -> dict[str, str]:
        found = [each for each in await connections(store) if each["name"] in NAMES]
        return {each["name"]: each["tls_peer_certs"][0]["cert_sha256"] for each in found}

    before, pids = await certificates(), {name: store.record[name]["pid"] for name in NAMES}
    await renew(store)
    store.send("nats", signal.SIGKILL)
    await store.wait_until_recovered()
    after = await certificates()
    assert after.keys() == before.keys()
    assert not set(after.values()) & set(before.values())
    assert {name: store.record[name]["pid"] for name in NAMES} == pids


async def renew(store: Running) -> None:
    folder = Path(store.record["nats"]["security"]["NATS_CA"]).parent
    process = await asyncio.create_subprocess_exec(
        MKSTORE, "certs", str(folder), "--renew", "--json", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(output)
