"""A parsed page of the portal."""

from collections import Counter
from html.parser import HTMLParser


class Page(HTMLParser):
    """The tags, links, texts and snippets of a page; `inline` lists what a strict content policy blocks."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: Counter[str] = Counter()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.scripts: list[str] = []
        self.inline: list[str] = []
        self.texts: list[str] = []
        self.snippets: dict[str, list[str]] = {"python": [], "shell": []}
        self._in: str | None = None
        self._language: str | None = None
        self.feed(html)
        self.close()

    @property
    def text(self) -> str:
        """The whole text, without tags."""
        return "".join(self._all)

    def reset(self) -> None:
        super().reset()
        self._all: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self._in = tag if tag in {"script", "style"} else None
        self.inline += [name for name, _ in attrs if name.startswith("on") or name == "style"]
        attributes = {name: value or "" for name, value in attrs}
        if tag == "pre" and (languages := self.snippets.keys() & attributes.get("class", "").split()):
            self._language = languages.pop()
            self.snippets[self._language].append("")
        if tag == "script":
            self.scripts.append(attributes.get("src", ""))
        for name in {"src", "href", "data-document"} & attributes.keys():
            (self.links if tag == "a" else self.loaded).append(attributes[name])

    def handle_data(self, data: str) -> None:
        if self._in and data.strip():
            self.inline.append(data)
        if self._language:
            self.snippets[self._language][-1] += data
        self._all.append(data)
        self.texts.append(data.strip())

    def handle_endtag(self, tag: str) -> None:
        self._in = None
        if tag == "pre":
            self._language = None
