"""`mkstore docs`: what the services say of their messages and of HTTP, written down and compared with earlier words."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer

from contract_gate import gate, releases, sources
from contract_gate.announcements import PATH as ANNOUNCED
from contract_gate.references import UnreadableError
from kit.asyncapi import VERSION, Document
from kit.asyncapi.merging import merged
from mkstore import generated, permissions
from mkstore.stack.service_process import SERVICES, ServiceSpec

PATTERN = ("asyncapi/*.*", "openapi/*.*", f"!{ANNOUNCED}")
"""The files that nobody writes by hand."""

WHOLE = "mkstore"
"""The document of the whole system."""

_ABOUT = (
    "Every message on NATS: who publishes it, who consumes it, and its schema. An operation is called "
    "`<service>.<role>.<Message>`: a service `replies` to requests and `requests` others, `publishes` commands and "
    "events, `consumes` them under a durable name, `subscribes` to them while it runs, and `dead-letters` messages "
    "that it cannot handle."
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
    against: Annotated[
        str | None,
        typer.Option(
            metavar="REV|FILE",
            help="Write nothing; tell what changed since a git revision, a file, a folder, or `release` for the last "
            "release, and whom it hits; exit with 1 if that breaks somebody unannounced.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --against: print JSON.")] = False,
    release: Annotated[
        bool, typer.Option("--release", help="Keep the documents as those of this version, which never change.")
    ] = False,
) -> None:
    """Write the AsyncAPI and OpenAPI documents of the services into asyncapi/ and openapi/, from the code alone."""
    if check + release + (against is not None) > 1 or (as_json and against is None):
        raise typer.BadParameter("--check, --against (with --json or without) and --release exclude each other.")
    try:
        files = documents(SERVICES)
        if against is not None:
            _compare(against, files, as_json=as_json)
        elif release:
            _release(files)
        elif not check:
            generated.write(generated.ROOT, files, kept_clean=PATTERN)
            typer.echo("\n".join(files))
        elif found := generated.differences(generated.ROOT, files, kept_clean=PATTERN):
            typer.echo("\n".join([*found, "`mkstore docs` writes them as the code says."]), err=True)
            raise typer.Exit(1)
    except (NotDocumentedError, releases.ReleasedError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _compare(against: str, files: Mapping[str, str], *, as_json: bool) -> None:
    try:
        found = gate.report(generated.ROOT, against, sources.from_texts(_json_alone(files)))
    except UnreadableError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(found.data(), indent=2, ensure_ascii=False) if as_json else found.text())
    if not found.passes:
        raise typer.Exit(1)


def _release(files: Mapping[str, str]) -> None:
    """Keep the documents of each service, and of its HTTP API; the merged one says nothing else."""
    texts = {path: text for path, text in _json_alone(files).items() if path != f"asyncapi/{WHOLE}.json"}
    written = releases.record(
        generated.ROOT,
        VERSION,
        {path.removeprefix("asyncapi/").replace("/", "-"): text for path, text in texts.items()},
    )
    typer.echo("\n".join(written) if written else f"{VERSION} is released, with these very documents.")


def _json_alone(files: Mapping[str, str]) -> dict[str, str]:
    return {path: text for path, text in files.items() if path.endswith(".json")}


def documents(specs: Sequence[ServiceSpec]) -> dict[str, str]:
    """Return the text of every file, by its path; raises `NotDocumentedError`."""
    with ThreadPoolExecutor() as pool:
        said = dict(zip((spec.name for spec in specs), pool.map(_documents, specs), strict=True))
    found = {service: own["asyncapi"] for service, own in said.items()}
    files = {}
    if len(specs) > 1:
        files[permissions.FILE] = permissions.as_configuration(
            {service: permissions.permissions_of(service, document) for service, document in found.items()}
        )
        found[WHOLE] = merged(found, title=WHOLE, description=_ABOUT)
    for service, document in sorted(found.items()):
        written = Document(document)
        files[f"asyncapi/{service}.json"], files[f"asyncapi/{service}.yaml"] = written.to_json(), written.to_yaml()
    for service, own in sorted(said.items()):
        if "openapi" in own:
            files[f"openapi/{service}.json"] = Document(own["openapi"]).to_json()
    return files


def _documents(spec: ServiceSpec) -> dict[str, dict[str, Any]]:
    """Return the AsyncAPI document of a service and, if it has one, its OpenAPI document."""
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
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found
