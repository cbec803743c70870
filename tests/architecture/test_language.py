"""Plain technical English: a list of refused phrases, and the length of Markdown lines."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PLAIN = (
    *("again and again", "all the same", "at hand", "by any way", "by nobody", "comes back", "for ever", "gives way"),
    *("goes out", "heard", "hears", "in its stead", "in vain", "in whatever", "is nobody", "is to blame"),
    *("knows nothing", "lest", "lets nobody", "likewise", "mends", "nobody's", "of its own", "of ours", "of theirs"),
    *("said otherwise", "says so", "shall", "so many", "so often", "speaks", "stays dead", "tell whether"),
    *("that is all", "to nobody", "told", "what it is now", "what it was", "what they are", "whatever happens"),
    *("whoever", "whole again", "without a word"),
)
WITH_VARIANTS = (
    ("no", r"(?:is|are|was|were) no (?!longer\b|more than\b|less than\b|later than\b|fewer than\b|other than\b)\w+"),
    ("must be", "as (?:it|they) must be"),
    ("however", "however (?:late|long|many|often)"),
)
"""A part that each variant contains, and the pattern."""
GAP = r"[\s#*]+"  # phrases also stand across lines of a comment
PATTERNS = [
    (part.split()[-1], re.compile(rf"\b{pattern.replace(' ', GAP)}\b", re.IGNORECASE))
    for part, pattern in (*zip(PLAIN, PLAIN, strict=True), *WITH_VARIANTS)
]
"""With a word of the phrase: a text without that word need not be searched."""
THERE = re.compile(rf"\b(?:there|where){GAP}$", re.IGNORECASE)  # "there is no" is good English

TEXTS = {
    ".py",
    ".md",
    ".html",
    ".j2",
    ".toml",
    ".yml",
    ".yaml",
    ".json",
    ".txt",
    ".conf",
    ".sh",
    ".js",
    ".ts",
    ".css",
    ".mako",
}
NAMED = {".env.example", "Dockerfile", ".ci/run"}
FOREIGN = {"vendor", "released", "golden", "node_modules", "dist", "__pycache__"}
"""Folders with texts of other projects, or recorded ones."""


def files() -> Iterator[Path]:
    """Yield the project's texts, relative to its root."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(name for name in folders if name not in FOREIGN and (name[0] != "." or name == ".ci"))
        for path in (Path(folder, name).relative_to(ROOT) for name in sorted(names)):
            recorded = path.parts[:2] in {("docs", "proof"), ("docs", "benchmarks")} and path.suffix != ".md"
            if not recorded and (path.suffix in TEXTS or path.as_posix() in NAMED):
                yield path


def refused(text: str) -> Iterator[str]:
    """Yield the refused phrases of a text with their lines; a phrase in quotes or backticks is only mentioned."""
    lower = text.lower()
    for match in (match for word, pattern in PATTERNS if word in lower for match in pattern.finditer(text)):
        around = text[max(match.start() - 1, 0) : match.start()] + text[match.end() : match.end() + 1]
        mentioned = len(around) == 2 and set(around) <= set("\"`'")
        if not mentioned and not THERE.search(text[: match.start()][-12:]):
            yield f"{text.count(chr(10), 0, match.start()) + 1}: {' '.join(match.group().split())}"


def test_no_text_has_a_refused_phrase() -> None:
    phrases = [f"{path}:{phrase}" for path in files() for phrase in refused((ROOT / path).read_text("utf-8"))]
    assert not phrases, "\n".join(phrases)


def test_markdown_lines_have_at_most_120_characters() -> None:
    long = [
        f"{path}:{number}"
        for path in files()
        if path.suffix == ".md"
        for number, line in enumerate((ROOT / path).read_text("utf-8").splitlines(), 1)
        if len(line) > 120 and not line.startswith("|")
    ]
    assert not long, "\n".join(long)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("This is no" + " user.", 1),
        ("There is no user, and it is no longer active.", 0),
        ("It is tried so\n# " + "often.", 1),
        ('The phrase "so often" is refused.', 0),
        ("A shallow copy, untold.", 0),
        ("The client is to" + "ld.", 1),
    ],
)
def test_phrases_are_recognized(text: str, count: int) -> None:
    assert len(list(refused(text))) == count
