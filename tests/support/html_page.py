"""A page of the portal as a test reads it."""

from collections import Counter
from html.parser import HTMLParser


class Page(HTMLParser):
    """What a page loads, leads to and says, and whatever in it a strict policy would stop."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: Counter[str] = Counter()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.inline: list[str] = []
        self.texts: list[str] = []
        self.snippets: list[str] = []
        self._in: str | None = None
        self._snippet = False
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """All that is said, without its tags."""
        return "".join(self._all)

    def reset(self) -> None:
        super().reset()
        self._all: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._in = tag if tag in {"script", "style"} else None
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        said = {name: value or "" for name, value in attrs}
        if tag == "pre" and "python" in said.get("class", ""):
            self._snippet = True
            self.snippets.append("")
        if tag == "script":
            self.scripts.append(said.get("src", ""))
        for name in {"src", "href", "data-document"} & said.keys():
            (self.links if tag == "a" else self.loaded).append(said[name])

    def handle_data(self, data: str) -> None:
        if self._in and data.strip():
            self.inline.append(data)
        if self._snippet:
            self.snippets[-1] += data
        self._all.append(data)
        self.texts.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        self._in = None
        if tag == "pre":
            self._snippet = False
