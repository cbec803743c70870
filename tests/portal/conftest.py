"""The portal in a small application: an HTTP client for it, and a reader with a browser."""

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from httpx import ASGITransport, AsyncClient
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.support.browser import DESKTOP, Reader, Scheme, serve
from tests.support.portal_host import host

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(host()), base_url="http://portal.test") as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, _NAMES)), None)
    if executable is None:
        pytest.fail("Chromium is not installed: run `apt install chromium`, or leave out `tests/portal`.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One profile for all readers, so that assets are loaded and compiled once."""
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of a portal without live figures."""
    with serve(host()) as address:
        yield address


@pytest.fixture
def reader(context: BrowserContext, address: str, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A reader whose browser must not report any error during the test."""
    window: tuple[int, Scheme] = getattr(request, "param", (DESKTOP, "light"))
    reader = Reader(context, address, width=window[0], scheme=window[1])
    yield reader
    reader.page.close()
    assert reader.errors == []
