"""`mkstore docs`: writes, checks, compares and releases the documents of the services."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from mkstore import generated
from mkstore.services import SERVICES, ServiceSpec

CheckOption = Annotated[
    bool, typer.Option("--check", help="Write nothing; list the files that would change; exit 1 if there are any.")
]
AgainstOption = Annotated[
    str | None,
    typer.Option(
        metavar="REV|FILE",
        help="Write nothing; list the changes since a git revision, a file, a folder, or `release` for the last "
        "release, and who is affected; exit 1 if a breaking change is not announced.",
    ),
]
AsJsonOption = Annotated[bool, typer.Option("--json", help="With --against: print JSON.")]
ReleaseOption = Annotated[
    bool, typer.Option("--release", help="Record the documents as those of this version; a release never changes.")
]
FreezeOption = Annotated[
    bool, typer.Option("--freeze", help="Fix the released documents and golden messages of this version for good.")
]

_GOLDEN = "tests/contracts/golden"


def command(
    services: Sequence[ServiceSpec] = SERVICES,
    root: Path | None = None,
    build: Callable[[Sequence[ServiceSpec]], Mapping[str, str]] | None = None,
) -> Callable[..., None]:
    """Return the command for `services`, whose files are below `root` (the project's root by default).

    `build` returns the text of each generated file by its path; by default `mkstore.documents.documents`.
    """

    def docs(
        *,
        check: CheckOption = False,
        against: AgainstOption = None,
        as_json: AsJsonOption = False,
        release: ReleaseOption = False,
        freeze: FreezeOption = False,
    ) -> None:
        """Write the AsyncAPI and OpenAPI documents of the services into asyncapi/ and openapi/, from the code."""
        if check + release + freeze + (against is not None) > 1 or (as_json and against is None):
            raise typer.BadParameter(
                "Use only one of --check, --against, --release and --freeze; --json needs --against."
            )
        from contract_gate import releases  # noqa: PLC0415 - slow to import, and `mkstore --help` is not
        from mkstore.documents import PATTERNS, documents  # noqa: PLC0415

        folder = root or generated.ROOT
        try:
            if freeze:
                _freeze(folder)
                return
            files = (build or documents)(services)
            if against is not None:
                _compare(folder, against, files, as_json=as_json)
            elif release:
                _release(folder, files)
            elif not check:
                generated.write(folder, files, patterns=PATTERNS)
                typer.echo("\n".join(files))
            elif changed := generated.differences(folder, files, patterns=PATTERNS):
                typer.echo("\n".join([*changed, "Run `mkstore docs` to update them."]), err=True)
                raise typer.Exit(1)
        except (generated.NotDocumented, releases.ReleasedError) as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None

    return docs


def _compare(root: Path, against: str, files: Mapping[str, str], *, as_json: bool) -> None:
    from contract_gate import gate, sources  # noqa: PLC0415
    from contract_gate.references import UnreadableError  # noqa: PLC0415

    try:
        report = gate.report(root, against, sources.from_texts(_json_only(files)))
    except UnreadableError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    typer.echo(json.dumps(report.data(), indent=2, ensure_ascii=False) if as_json else report.text())
    if not report.passes:
        raise typer.Exit(1)


def _release(root: Path, files: Mapping[str, str]) -> None:
    """Record the documents of each service and of its HTTP API; the merged document contains nothing more."""
    from contract_gate import releases  # noqa: PLC0415
    from kit.asyncapi.specification import VERSION  # noqa: PLC0415
    from mkstore.documents import WHOLE  # noqa: PLC0415

    texts = {path: text for path, text in _json_only(files).items() if path != f"asyncapi/{WHOLE}.json"}
    written = releases.record(
        root,
        VERSION,
        {path.removeprefix("asyncapi/").replace("/", "-"): text for path, text in texts.items()},
    )
    typer.echo("\n".join(written) if written else f"{VERSION} is already released with the same documents.")


def _freeze(root: Path) -> None:
    from contract_gate import releases  # noqa: PLC0415
    from kit.asyncapi.specification import VERSION  # noqa: PLC0415

    typer.echo(releases.freeze(root, VERSION, [f"{_GOLDEN}/{VERSION}"]))


def _json_only(files: Mapping[str, str]) -> dict[str, str]:
    return {path: text for path, text in files.items() if path.endswith(".json")}
