"""Builds the AsyncAPI and OpenAPI documents of the services, each from its code alone.

`python -m mkstore.documents MODULE:APP ...` prints the documents of some apps. It is a separate program because an app
reads its environment when it is imported.
"""

import json
import os
import subprocess
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from contract_gate.announcements import PATH as ANNOUNCED
from kit.asyncapi.merging import merged
from kit.asyncapi.specification import Document, document
from mkstore import nats_accounts, rights
from mkstore.generated import NotDocumented
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


def documents(specs: Sequence[ServiceSpec]) -> dict[str, str]:
    """Return the text of every generated file by its path, relative to the project's root.

    Several services also have a merged document and a file with their NATS accounts.

    Raises `NotDocumented` if a service cannot be imported, or its messages cannot be described.
    """
    by_service = _by_service(specs)
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
            text = Document(own["openapi"])
            files[f"openapi/{service}.json"], files[f"openapi/{service}.yaml"] = text.to_json(), text.to_yaml()
    return files


def asyncapi_of(specs: Sequence[ServiceSpec]) -> dict[str, dict[str, Any]]:
    """Return the AsyncAPI document of each service by its name. Raises `NotDocumented`, see `documents`."""
    return {service: own["asyncapi"] for service, own in _by_service(specs).items()}


def _by_service(specs: Sequence[ServiceSpec]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the AsyncAPI document of each service and, if it has an HTTP API, its OpenAPI document."""
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    roots = dict.fromkeys(str(spec.root) for spec in specs)
    done = subprocess.run(  # noqa: S603 - this Python, and the services' own modules
        [sys.executable, "-m", "mkstore.documents", *(spec.app for spec in specs)],
        env=env | {"PYTHONUTF8": "1", "PYTHONPATH": os.pathsep.join(roots)},
        cwd=specs[0].root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        failed = specs[done.returncode - 1] if 0 < done.returncode <= len(specs) else specs[0]
        raise NotDocumented(failed.name, done.stderr.strip()[-2000:])
    return dict(zip((spec.name for spec in specs), json.loads(done.stdout), strict=True))


def main(apps: Sequence[str]) -> None:
    """Print the documents of each of `apps` ("module:name") as a JSON array; exit with the position of a failed one.

    One process imports all of them: what they share takes most of the two seconds of processor time.
    """
    # FastStream and FastAPI warn when two messages have one name; the document would contain only one of them.
    warnings.simplefilter("error")
    documented = []
    for position, app in enumerate(apps, 1):
        try:
            documented.append(_documents(app))
        except BaseException:  # noqa: BLE001 - invalid settings raise SystemExit
            traceback.print_exc()
            sys.exit(position)
    json.dump(documented, sys.stdout)


def _documents(app: str) -> dict[str, dict[str, Any]]:
    module, _, name = app.partition(":")
    service = getattr(import_module(module), name)
    by_format = {"asyncapi": document(service)}
    if (api := getattr(service, "api", None)) is not None:
        by_format["openapi"] = api.openapi()
    return by_format


if __name__ == "__main__":
    main(sys.argv[1:])
