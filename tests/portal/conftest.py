"""The portal alone: its routes for a client, and its pages for a reader with a browser."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
from playwright.sync_api import Browser, sync_playwright

import portal
from apps.gateway.http import problems
from tests.support.browser import DESK, Reader, application, serving

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
_ABSENT = "There is no Chromium here: `apt-get install chromium` brings one."


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(portal.router)
    problems.install(app)
    async with AsyncClient(transport=ASGITransport(app), base_url="http://portal.test") as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(_ABSENT)
        pytest.skip(_ABSENT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The portal as it is where nobody wants what goes on to be seen."""
    with serving(application()) as where:
        yield where


@pytest.fixture
def reader(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """Whatever a test does, nothing may be complained of at its end."""
    width, scheme = getattr(request, "param", (DESK, "light"))
    reader = Reader(browser, address, width=width, scheme=scheme)
    yield reader
    reader.page.context.close()
    assert reader.complaints == []
