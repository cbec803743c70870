"""Prints the documents of one app: a program, because an app reads its environment as it is imported."""

import json
import sys
import warnings
from importlib import import_module

from kit.asyncapi import document


def main(app: str) -> None:
    """Print what `app` ("module:name") says of its messages, and of its HTTP API if it is called over HTTP."""
    # Whatever is warned of while a document is made, such as a name that is taken twice, would be missing from it.
    warnings.simplefilter("error")
    module, _, name = app.partition(":")
    service = getattr(import_module(module), name)
    found = {"asyncapi": document(service)}
    if (api := getattr(service, "api", None)) is not None:
        found["openapi"] = api.openapi()
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
