"""The manifests of deploy/kubernetes, rendered by kustomize."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.conftest import ROOT

KUBECTL = str(Path(sys.executable).with_name("kubectl"))
MANIFESTS = ROOT / "deploy/kubernetes"
SECRETS = "/run/secrets/mkstore"
"""Folder of the secrets in a container."""

AUTHORITY = "/etc/mkstore/authority"
"""Folder of the authority in a container."""

Resource = Mapping[str, Any]


class Pod(NamedTuple):
    """The pods of one Deployment or Job in the namespace of the store."""

    kind: str
    name: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def container(self) -> Mapping[str, Any]:
        """The only container."""
        (container,) = self.spec["containers"]
        return dict(container)

    @property
    def part(self) -> str:
        """Whose pods they are: the name of a service, or `provision`."""
        return self.labels["app.kubernetes.io/name"]


class Overlay(NamedTuple):
    """The resources of one overlay."""

    resources: tuple[Resource, ...]

    def of_kind(self, kind: str) -> dict[str, Resource]:
        """Return the resources of a kind in the namespace of the store, by name."""
        found = [each for each in self.resources if each["kind"] == kind and each["metadata"].get("namespace")]
        return {each["metadata"]["name"]: each for each in found if each["metadata"]["namespace"] == "mkstore"}

    def pods(self) -> Iterator[Pod]:
        """Yield the pods of each Deployment and Job of the store."""
        for kind in ("Deployment", "Job"):
            for name, each in self.of_kind(kind).items():
                template = each["spec"]["template"]
                yield Pod(kind, name, template["metadata"]["labels"], template["spec"])

    def services(self) -> dict[str, Pod]:
        """Return the pods of the Deployments, by the name of their service."""
        return {pod.part: pod for pod in self.pods() if pod.kind == "Deployment"}

    def environment(self, pod: Pod) -> dict[str, str]:
        """Return the environment of a pod, as its ConfigMaps give it."""
        maps = self.of_kind("ConfigMap")
        environment: dict[str, str] = {}
        for source in pod.container["envFrom"]:
            environment |= maps[source["configMapRef"]["name"]]["data"]
        return environment


@cache
def rendered(overlay: str) -> Overlay:
    """Return an overlay of the project, rendered once."""
    return build(MANIFESTS / "overlays" / overlay)


def build(folder: Path) -> Overlay:
    """Render the overlay in a folder; fails with the error of kustomize.

    Only the development overlay may read files outside of it: the configuration of the servers.
    """
    options = ["--load-restrictor", "LoadRestrictionsNone"] if folder.name == "development" else []
    command = [KUBECTL, "kustomize", *options, str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Overlay(tuple(yaml.safe_load_all(done.stdout)))


def operator_files(name: str) -> list[dict[str, Any]]:
    """Return the documents of a file in `operators`."""
    return list(yaml.safe_load_all((MANIFESTS / "operators" / name).read_text()))


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects these labels."""
    return set(selector.get("matchLabels", {}).items()) <= set(labels.items())
