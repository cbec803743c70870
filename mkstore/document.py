"""Prints the AsyncAPI document of one app: a program, because an app reads its environment as it is imported."""

import json
import sys
from importlib import import_module

from kit.asyncapi import document


def main(app: str) -> None:
    """Print what `app` ("module:name") says."""
    module, _, name = app.partition(":")
    json.dump(document(getattr(import_module(module), name)), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
