"""The names of a new service, in the forms that its files use."""

import keyword
import re
from dataclasses import dataclass

_WORD = re.compile(r"[a-z]{3,24}")
_WITH_AN = re.compile(r"[aeio]|u(?!ni|s[aeu]|t[aei])")
RESERVED = {
    "its code": "app broker command dependencies deps errors event events fake field inbox models outbox payment "
    "repository request requests row router settings table trace transaction",
    "Python": "bytes class file hash help id input len list object property set slice str test tuple type vars",
    "SQL": "analyses columns constraints references schemas tables values windows",
    "NATS": "admin dead discovery health mkstore nats operator public stored watcher",
    "pyproject.toml": "dev lint prove tokens",
    "Compose": "database environment gateway hardened migration postgres production provision service",
}
"""Words with another meaning, by where they have it."""


class NameRefused(ValueError):
    """The name cannot be that of a new service; the text says why, and what to do."""


@dataclass(frozen=True)
class Names:
    """A plural, `invoices`, names the service; its singular, `invoice`, names one record and the subject of events."""

    plural: str
    singular: str

    @classmethod
    def of(cls, name: str, singular: str | None = None) -> "Names":
        """Return the names of a service; the singular is derived from `name` if it is not given.

        Raises `NameRefused` if a name is malformed or reserved, or if no singular can be derived.
        """
        if _WORD.fullmatch(name) is None:
            raise NameRefused(f"{name!r} is not a name: use a plural of 3 to 24 lowercase letters, such as invoices.")
        names = cls(name, singular or _singular(name))
        for word in (name, names.singular):
            if (meaning := _meaning(word)) is not None:
                raise NameRefused(f"{word!r} has another meaning in {meaning}: choose another name.")
        if _WORD.fullmatch(names.singular) is None or names.singular == name:
            raise NameRefused(f"The singular of {name} is unclear: give it as one lowercase word with --singular.")
        return names

    def values(self) -> dict[str, str]:
        """Return what templates insert: the names in each case, and the article of the singular."""
        article = article_of(self.singular)
        return {
            "name": self.plural,
            "Name": self.plural.capitalize(),
            "NAME": self.plural.upper(),
            "noun": self.singular,
            "Noun": self.singular.capitalize(),
            "NOUN": self.singular.upper(),
            "a": article,
            "A": article.capitalize(),
        }


def article_of(word: str) -> str:
    """Return the indefinite article before a word in lower case: an order, but a user."""
    return "an" if _WITH_AN.match(word) else "a"


def _meaning(word: str) -> str | None:
    if keyword.iskeyword(word):
        return "Python"
    return next((where for where, words in RESERVED.items() if word in words.split()), None)


def _singular(plural: str) -> str:
    if plural.endswith(("ss", "us", "is")):
        return plural  # no plural, or one that looks like a singular
    if plural.endswith("ies"):
        return f"{plural.removesuffix('ies')}y"
    return plural.removesuffix("es" if plural.endswith(("sses", "ches", "shes", "xes")) else "s")
