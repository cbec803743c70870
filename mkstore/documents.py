"""Builds the AsyncAPI and OpenAPI documents of the services, each from its code alone.

`python -m mkstore.documents MODULE:APP` prints the documents of one app. It is a separate program because an app
reads its environment when it is imported.
"""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

from contract_gate.announcements import PATH as ANNOUNCED
from kit.asyncapi.merging import merged
from kit.asyncapi.specification import Document, document
from mkstore import nats_accounts, rights
from mkstore.services import ServiceSpec

PATTERNS = ("asyncapi/*.*", "openapi/*.*", f"!{ANNOUNCED}")
"""The generated files, for `generated.write` and `generated.differences`."""

WHOLE = "mkstore"
"""Name of the document of the whole system."""

_DESCRIPTION = (
    "Every message on NATS: who publishes it, who consumes it, and its schema. An operation is called "
    "`<service>.<role>.<Message>`: a service `replies` to requests and `requests` others, `publishes` commands and "
    "events, `consumes` them under a durable name, `subscribes` to them while it runs, and `dead-letters` messages "
    "that it cannot handle."
)

# An app is imported without the user's settings: a document must not contain the address of somebody's NATS.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")


class NotDocumented(Exception):
    """A service's documents cannot be built; the reason is the end of the error output of its import."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"The documents of {service} cannot be built: {reason}")


def documents(specs: Sequence[ServiceSpec]) -> dict[str, str]:
    """Return the text of every generated file by its path, relative to the project's root.

    Several services also have a merged document and a file with their NATS accounts.

    Raises `NotDocumented` if a service cannot be imported, or its messages cannot be described.
    """
    with ThreadPoolExecutor() as pool:
        by_service = dict(zip((spec.name for spec in specs), pool.map(_documents, specs), strict=True))
    asyncapi = {service: own["asyncapi"] for service, own in by_service.items()}
    files = {}
    if len(specs) > 1:
        of_services = [rights.rights_of(service, contents) for service, contents in sorted(asyncapi.items())]
        files[nats_accounts.FILE] = nats_accounts.as_configuration([*of_services, rights.of_watcher()])
        asyncapi[WHOLE] = merged(asyncapi, title=WHOLE, description=_DESCRIPTION)
    for service, contents in sorted(asyncapi.items()):
        text = Document(contents)
        files[f"asyncapi/{service}.json"], files[f"asyncapi/{service}.yaml"] = text.to_json(), text.to_yaml()
    for service, own in sorted(by_service.items()):
        if "openapi" in own:
            files[f"openapi/{service}.json"] = Document(own["openapi"]).to_json()
    return files


def _documents(spec: ServiceSpec) -> dict[str, dict[str, Any]]:
    """Return the AsyncAPI document of a service and, if it has an HTTP API, its OpenAPI document."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    done = subprocess.run(  # noqa: S603 - this Python, and a service's own module
        [sys.executable, "-m", "mkstore.documents", spec.app],
        env=env | {"PYTHONUTF8": "1"},
        cwd=spec.root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise NotDocumented(spec.name, done.stderr.strip()[-2000:])
    by_format: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return by_format


def main(app: str) -> None:
    """Print the AsyncAPI document of `app` ("module:name"), and its OpenAPI document if it has an HTTP API, as JSON."""
    # FastStream and FastAPI warn when two messages have one name; the document would contain only one of them.
    warnings.simplefilter("error")
    module, _, name = app.partition(":")
    service = getattr(import_module(module), name)
    by_format = {"asyncapi": document(service)}
    if (api := getattr(service, "api", None)) is not None:
        by_format["openapi"] = api.openapi()
    json.dump(by_format, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
