"""What could not be handled, as it is kept."""

from typing import Any, ClassVar

from pydantic import ConfigDict, RootModel

from contracts.streams import DEAD


class DeadLetter(RootModel[Any]):
    """A message that could not be handled: its body, byte for byte, whatever that is; its story is in its headers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": "much"}]})
    subject: ClassVar[str] = f"{DEAD}{{subject}}"
