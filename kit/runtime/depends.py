"""Handler parameters that are read from the service's one `Dependencies` object.

The composition root puts that object into FastStream's context under `DEPENDENCIES`. FastStream's own `Context` starts
a thread for each message and parameter; these are resolved in place.
"""

import typing
from collections.abc import Callable
from typing import Any

from fast_depends.library import CustomField

DEPENDENCIES = "dependencies"
"""The key in FastStream's context of the service's `Dependencies` object."""


class Provided(CustomField):
    """`Annotated[Thing, Provided("thing")]` passes the attribute `thing`, the same object for every message.

    Without an attribute it passes the `Dependencies` object itself.
    """

    def __init__(self, attribute: str = "") -> None:
        super().__init__(cast=False)  # a test's fake is not an instance of the annotated class
        self._attribute = attribute

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override] # fast_depends awaits it
        """Add the resolved value to the handler's arguments."""
        kwargs[str(self.param_name)] = self.value(kwargs["context__"].resolve(DEPENDENCIES))
        return kwargs

    def value(self, dependencies: Any) -> Any:
        """Return the handler's argument."""
        return getattr(dependencies, self._attribute) if self._attribute else dependencies


class Factory(Provided):
    """`Annotated[Thing, Factory("open_thing")]` calls the attribute `open_thing`: a new object for each message."""

    def value(self, dependencies: Any) -> Any:
        """Call the factory and return its result."""
        return super().value(dependencies)()


def provided_parameters(handler: Callable[..., Any]) -> dict[str, Provided]:
    """Return the parameters of `handler` that are attributes of the service's `Dependencies`, by name."""
    return {
        name: provided
        for name, hint in typing.get_type_hints(handler, include_extras=True).items()
        for provided in getattr(hint, "__metadata__", ())
        if isinstance(provided, Provided)
    }
