"""What a handler is given: the things that the composition root has put into FastStream's context under a name.

FastStream's own `Context` does the same in a thread, once a message and parameter; these are taken in place.
"""

from typing import Any

from fast_depends.library import CustomField


class Provided(CustomField):
    """`Annotated[Thing, Given("thing")]` is the thing itself, the same for every message."""

    def __init__(self, name: str) -> None:
        super().__init__(cast=False)  # a test's fake is no instance of what the annotation says
        self.name = name

    async def use(self, /, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override] # fast_depends awaits it
        """Add the thing to the handler's arguments."""
        kwargs[str(self.param_name)] = self.take(kwargs["context__"].resolve(self.name))
        return kwargs

    def take(self, found: Any) -> Any:
        """Return what the handler gets when `found` stands under the name."""
        return found


class Factory(Provided):
    """`Annotated[Thing, Made("open_thing")]` is what calling `open_thing` returns: a new one for each message."""

    def take(self, found: Any) -> Any:
        """Call what stands under the name."""
        return found()
