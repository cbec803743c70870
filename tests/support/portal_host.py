"""A small application that mounts the portal, as the gateway does."""

from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.routing import Route

import portal
from apps.gateway.http import problems
from portal.live import Monitor
from portal.responses import Authorize
from portal.traces import Traces
from tests.conftest import ROOT

DOCUMENTS = ROOT / "asyncapi"


class Greeting(BaseModel):
    """The response of the one call."""

    name: str
    words: str


def host(
    documents: Path = DOCUMENTS,
    monitor: Monitor | None = None,
    authorize: Authorize | None = None,
    traces: Traces | None = None,
) -> FastAPI:
    """Return an application with one call to try out and the portal."""
    app = FastAPI(title="Greetings", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)

    @app.get("/greetings/{name}", operation_id="greet")
    def greet(name: str) -> Greeting:
        """Greet a person."""
        return Greeting(name=name, words=f"Good day, {name}!")

    openapi_yaml = ROOT / "openapi/gateway.yaml"
    site = portal.create_app(documents, app.openapi, monitor, authorize, traces=traces, openapi_yaml=openapi_yaml)
    app.router.routes.extend(Route(path, site, methods=["GET"], include_in_schema=False) for path in portal.PATHS)
    problems.install(app)
    return app
