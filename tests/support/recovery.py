"""How long the store takes until it works again after a part of it was killed."""

import httpx

from tests.support.polling import eventually
from tests.support.running_store import Running

SERVICES = ("gateway", "users", "payments")


async def wait_until_replaced(mkstore: Running, name: str, dead_pid: int, *, within: float = 60.0) -> None:
    """Return once the part has another process and every service says that it is ready."""
    async with httpx.AsyncClient(timeout=5, trust_env=False) as http:

        async def whole() -> bool:
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

        await eventually(whole, within=within, or_else=lambda: f"{name} is not back:\n{mkstore.text}")
