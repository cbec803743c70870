"""Sign-ins from a client address that a test chooses."""

import httpx

from tests.support.store import Store
from tests.support.users_harness import PASSWORD


async def sign_in(store: Store, email: str, password: str = PASSWORD, *, address: str = "127.0.0.1") -> httpx.Response:
    credentials = {"email": email, "password": password}
    async with at_address(store, address) as http:
        return await http.post("/auth/sessions", json=credentials)


def at_address(store: Store, address: str) -> httpx.AsyncClient:
    """Return a client whose requests come from `address`."""
    transport = httpx.ASGITransport(app=store.app, client=(address, 1))
    return httpx.AsyncClient(transport=transport, base_url="http://store")
