"""Messages in the dead-letter queue."""

from typing import Any, ClassVar

from pydantic import ConfigDict, RootModel

from contracts.streams import DEAD


class DeadLetter(RootModel[Any]):
    """A message that failed permanently: its original body, byte for byte, or one command of a batch.

    The headers describe the failure.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": "much"}]})
    subject: ClassVar[str] = f"{DEAD}{{subject}}"
