"""Handler parameters that are read from the service's one `Dependencies` object.

The composition root puts that object into FastStream's context under `DEPENDENCIES`. FastStream's own `Context` starts
a thread for each message and parameter; these are resolved in place.
"""

from typing import Any

from fast_depends.library import CustomField

DEPENDENCIES = "dependencies"
"""The key in FastStream's context of the service's `Dependencies` object."""


class Provided(CustomField):
    """`Annotated[Thing, Provided("thing")]` passes the attribute `thing`, the same object for every message."""

    def __init__(self, attribute: str) -> None:
        super().__init__(cast=False)  # a test's fake is not an instance of the annotated class
        self._attribute = attribute

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override] # fast_depends awaits it
        """Add the resolved value to the handler's arguments."""
        dependencies = kwargs["context__"].resolve(DEPENDENCIES)
        kwargs[str(self.param_name)] = self.resolve(getattr(dependencies, self._attribute))
        return kwargs

    def resolve(self, value: Any) -> Any:
        """Return the handler's argument for the attribute's value."""
        return value


class Factory(Provided):
    """`Annotated[Thing, Factory("open_thing")]` calls the attribute `open_thing`: a new object for each message."""

    def resolve(self, value: Any) -> Any:
        """Call the factory."""
        return value()
