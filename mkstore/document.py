"""Prints the AsyncAPI document of one app: a program, because an app reads its environment as it is imported."""

import json
import sys
import warnings
from importlib import import_module

from kit.asyncapi import document


def main(app: str) -> None:
    """Print what `app` ("module:name") says."""
    # Whatever is warned of while a document is made, such as a name that is taken twice, would be missing from it.
    warnings.simplefilter("error")
    module, _, name = app.partition(":")
    json.dump(document(getattr(import_module(module), name)), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
