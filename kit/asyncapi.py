"""What a service says of its messages, as an AsyncAPI document."""

import warnings
from typing import Any

from faststream.asgi import AsgiFastStream
from faststream.specification import AsyncAPI, License

VERSION = "0.1.0"
"""The version of everything here; written out, because a service that stands alone has no package to ask."""


def specification(service: str, description: str | None) -> AsyncAPI:
    """Say what the document of a service begins with."""
    return AsyncAPI(
        title=f"mkstore {service}",
        version=VERSION,
        description=description,
        identifier=f"urn:mkstore:{service}",
        license=License(name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0"),
    )


def document(app: AsgiFastStream) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of `app`, the same in every process; nothing is connected.

    Raises `RuntimeWarning` where two channels, messages or schemas of the app have one name: one would be missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        generated = app.schema.to_specification().to_jsonable()
    # FastStream keeps what subscribes in a set: in each process another one comes first.
    return {
        "asyncapi": generated.pop("asyncapi"),
        **generated,
        "channels": _sorted(generated["channels"]),
        "operations": _sorted(generated["operations"]),
        "components": {kind: _sorted(parts) for kind, parts in generated["components"].items()},
    }


def _sorted(parts: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(parts.items()))
