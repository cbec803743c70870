"""The names of a new event or request, in the forms that its files use."""

import re
from collections.abc import Collection
from dataclasses import dataclass

from mkstore.new.names import NameRefused, article_of

_WORD = re.compile(r"[A-Z][a-z]+")
_EVENT = re.compile(rf"({_WORD.pattern})({_WORD.pattern}ed)")
_NAME = re.compile(rf"(?:{_WORD.pattern}){{2,5}}")
_MAX_LENGTH = 40


def words_of(name: str) -> list[str]:
    """Return the words of a name in capitals, such as `CountUsers`, in lower case."""
    return [word.lower() for word in _WORD.findall(name)]


@dataclass(frozen=True)
class EventNames:
    """An event is a noun and a past participle: `PaymentFlagged`, on the subject `payment.flagged`."""

    name: str
    noun: str
    participle: str

    @classmethod
    def of(cls, name: str) -> "EventNames":
        """Return the names of an event. Raises `NameRefused` if it is not a noun with a regular past participle."""
        match = _EVENT.fullmatch(name)
        if match is None or len(name) > _MAX_LENGTH:
            raise NameRefused(
                f"{name!r} is not the name of an event: use a noun and a past participle that ends in ed, "
                "such as PaymentFlagged."
            )
        return cls(name, match[1].lower(), match[2].lower())

    @property
    def subject(self) -> str:
        """Subject of the event."""
        return f"{self.noun}.{self.participle}"

    @property
    def snake(self) -> str:
        """The name in functions and files."""
        return f"{self.noun}_{self.participle}"

    def values(self) -> dict[str, str]:
        """Return what templates insert."""
        return {
            "Event": self.name,
            "event": self.snake,
            "noun": self.noun,
            "participle": self.participle,
            "subject": self.subject,
            "A": article_of(self.noun).capitalize(),
            "a_participle": f"{article_of(self.participle)} {self.participle}",
        }


@dataclass(frozen=True)
class RequestNames:
    """A request is an imperative, such as `CountUsers`; its reply is a noun, such as `UserCount`, or empty."""

    name: str
    verb: str
    reply: str | None

    @classmethod
    def of(cls, name: str, reply: str | None, nouns: Collection[str]) -> "RequestNames":
        """Return the names of a request; `nouns` of its service end its name, not its subject.

        Raises `NameRefused` if one of the names is malformed, or if both are the same.
        """
        for each in (name, *([] if reply is None else [reply])):
            if _NAME.fullmatch(each) is None or len(each) > _MAX_LENGTH:
                what = (
                    "a request: use a verb and a noun, such as CountUsers"
                    if each == name
                    else ("a reply: use two nouns or more, such as UserCount")
                )
                raise NameRefused(f"{each!r} is not the name of {what}.")
        if name == reply:
            raise NameRefused(f"A request and its reply cannot both be {name}: choose another name for the reply.")
        words = words_of(name)
        while len(words) > 1 and words[-1] in nouns:
            words.pop()
        return cls(name, "_".join(words), reply)

    @property
    def snake(self) -> str:
        """The name in functions and files."""
        return "_".join(words_of(self.name))

    @property
    def sentence(self) -> str:
        """The name as a sentence."""
        return f"{' '.join(words_of(self.name)).capitalize()}."
