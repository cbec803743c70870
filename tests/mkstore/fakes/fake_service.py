"""A fake service: it only answers health checks, with its environment."""

import json
import os

from faststream.asgi import AsgiFastStream, AsgiResponse, get
from faststream.asgi.types import Scope


@get
async def alive(scope: Scope) -> AsgiResponse:
    variables = {
        name: os.environ.get(name)
        for name in ("APP_ENV", "NATS_URL", "DB_DATABASE", "DB_POOL_SIZE", "JWT_SECRET", "LOG_LEVEL", "PORT")
    }
    return AsgiResponse(json.dumps({"pid": os.getpid(), **variables}).encode(), 200)


app = AsgiFastStream(asgi_routes=[("/health/ready", alive), ("/health", alive)])
