"""The documentation site of the HTTP API and of every service's messages: an ASGI app for a host to mount."""

from portal.app import PATHS, create_app

__all__ = ["PATHS", "create_app"]
