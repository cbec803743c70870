"""`mkstore docs`: what the services say of their messages, written down as AsyncAPI."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer
import yaml

from kit.asyncapi.merging import merged
from mkstore import generated, permissions
from mkstore.services import SERVICES, ServiceSpec

PATTERN = "asyncapi/*.*"
WHOLE = "mkstore"
"""The document of the whole system."""

_ABOUT = (
    "Everything that the services of mkstore ask, order and tell each other over NATS. An operation is called "
    "`<service>.<role>.<Message>`: a service `answers` and `asks` requests, `sends` commands and events, `takes` them "
    "without missing one, `follows` them while it runs, and `buries` what it cannot handle."
)

# An app is imported without its user's settings: a document must not tell where somebody's NATS is.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")


class NotDocumentedError(Exception):
    """A service cannot say what it says; the reason is the end of what its import printed."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"There is no document of {service}: {reason}")


def docs(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 and name the files that would change.")
    ] = False,
) -> None:
    """Write the AsyncAPI documents of the services into asyncapi/, from the code alone."""
    try:
        files = documents(SERVICES)
    except NotDocumentedError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    if not check:
        generated.write(generated.ROOT, files, kept_clean=PATTERN)
        typer.echo("\n".join(files))
    elif found := generated.differences(generated.ROOT, files, kept_clean=PATTERN):
        typer.echo("\n".join([*found, "`mkstore docs` writes them as the code says."]), err=True)
        raise typer.Exit(1)


def documents(specs: Sequence[ServiceSpec]) -> dict[str, str]:
    """Return the text of every file, by its path; raises `NotDocumentedError`."""
    with ThreadPoolExecutor() as pool:
        found = dict(zip((spec.name for spec in specs), pool.map(_document, specs), strict=True))
    files = {}
    if len(specs) > 1:
        files[permissions.FILE] = permissions.as_configuration(
            {service: permissions.permissions_of(service, document) for service, document in found.items()}
        )
        found[WHOLE] = merged(found, title=WHOLE, description=_ABOUT)
    for service, document in sorted(found.items()):
        files[f"asyncapi/{service}.json"] = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        files[f"asyncapi/{service}.yaml"] = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return files


def _document(spec: ServiceSpec) -> dict[str, Any]:
    env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    done = subprocess.run(  # noqa: S603 - this very Python, and a service's own module
        [sys.executable, "-m", "mkstore.document", spec.app],
        env=env | {"PYTHONUTF8": "1"},
        cwd=spec.root,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise NotDocumentedError(spec.name, done.stderr.strip()[-2000:])
    document: dict[str, Any] = json.loads(done.stdout)
    return document
