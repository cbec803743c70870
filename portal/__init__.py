"""The documentation that the gateway serves from itself: of the HTTP API, and of every service's messages."""

from portal.routes import router

__all__ = ["router"]
