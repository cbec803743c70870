"""A reader of the portal in Chromium, and a server for the application that it reads."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import uvicorn
from playwright.sync_api import BrowserContext, Page, expect
from starlette.types import ASGIApp

PHONE, DESKTOP = 390, 1280
Scheme = Literal["light", "dark"]


@contextmanager
def serve(app: ASGIApp) -> Iterator[str]:
    """Serve an application on a free port; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


class Reader:
    """A browser window; `errors` collects console messages, script errors, failed and foreign requests."""

    def __init__(self, context: BrowserContext, address: str, *, width: int, scheme: Scheme) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.show(width, scheme)
        self.address = address
        self.errors: list[str] = []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(request.url))
        self.page.on("request", lambda request: self._check_host(request.url))

    def show(self, width: int, scheme: Scheme) -> None:
        """Change the width of the window and the preferred color scheme."""
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.emulate_media(color_scheme=scheme)

    def open(self, path: str) -> Page:
        """Open a page and wait until it is rendered."""
        self.page.goto(self.address + path)
        return self.wait_for(path)

    def wait_for(self, path: str) -> Page:
        """Wait until a page is open and rendered."""
        self.page.wait_for_url(self.address + path)
        self.page.wait_for_load_state("load")
        if self.page.locator("main [data-document]").count():
            expect(self.page.locator("main .waiting")).to_have_count(0, timeout=30_000)
            self.page.wait_for_load_state("networkidle")
        return self.page

    def _check_host(self, url: str) -> None:
        if not url.startswith((f"{self.address}/", "data:")):
            self.errors.append(f"request to another host: {url}")
