"""Wait until a running store works again after one of its processes ended."""

import httpx

from tests.support.polling import eventually
from tests.support.running_store import Running

SERVICES = ("gateway", "users", "payments")


async def wait_until_replaced(mkstore: Running, name: str, dead_pid: int, *, timeout: float = 60.0) -> None:
    """Return once the process `name` has a successor and every service reports that it is healthy."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:

        async def is_healthy() -> bool:
            record = mkstore.record
            if record[name]["pid"] in {dead_pid, None}:
                return False
            for service in SERVICES:
                try:
                    if (await http.get(record[service]["url"] + "/health")).status_code != 200:
                        return False
                except httpx.TransportError:
                    return False
            return True

        await eventually(is_healthy, timeout=timeout, describe=lambda: f"{name} was not replaced:\n{mkstore.text}")
