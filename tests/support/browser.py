"""A reader of the portal with a browser, and a small application to put the portal into."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect
from pydantic import BaseModel

import portal

PHONE, DESK = 390, 1280


class Greeting(BaseModel):
    """What is said."""

    name: str
    words: str


def application() -> FastAPI:
    """A small application with something to try out; the portal is still to be put into it."""
    app = FastAPI(title="Greetings", docs_url=None, redoc_url=None)

    @app.get("/greetings/{name}", operation_id="greet")
    def greet(name: str) -> Greeting:
        """Greet somebody."""
        return Greeting(name=name, words=f"Good day, {name}!")

    return app


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve an application on a port of its own; yields its address."""
    app.include_router(portal.router)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.should_exit = True
    thread.join()


class Reader:
    """A reader with a window of one width, and what the browser had to complain of meanwhile."""

    def __init__(self, browser: Browser, address: str, *, width: int, scheme: Any) -> None:
        context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
        context.set_default_timeout(10_000)
        self.page: Page = context.new_page()
        self.address = address
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(request.url))
        self.page.on("request", lambda request: self._mind_the_host(request.url))

    def opens(self, path: str) -> Page:
        """Open a page and wait until it is drawn."""
        self.page.goto(self.address + path)
        return self.arrives(path)

    def arrives(self, path: str) -> Page:
        """Be on a page once it is drawn."""
        self.page.wait_for_url(self.address + path)
        self.page.wait_for_load_state("load")
        if self.page.locator("main [data-document]").count():
            expect(self.page.locator("main .waiting")).to_have_count(0, timeout=15_000)
            self.page.wait_for_load_state("networkidle")
        return self.page

    def _mind_the_host(self, url: str) -> None:
        if not url.startswith((f"{self.address}/", "data:")):
            self.complaints.append(f"a request to {url}")
