"""The names of all shards for what a document names once: subjects, streams and durable consumers."""

from collections.abc import Iterable, Iterator

from contracts.consumers import place_of
from contracts.shards import Shards
from contracts.streams import DEAD, STORED, STREAMS, Stream, is_sharded, stream_of


class ShardNames:
    """Translates the names of the contracts; with one shard each is translated to itself."""

    def __init__(self, shards: Shards) -> None:
        self.shards = shards
        self._streams = {stream.name: stream for stream in STREAMS}

    def subjects(self, subject: str) -> set[str]:
        """Return the subjects on which messages of a subject are sent, with NATS wildcards."""
        for prefix in (DEAD, STORED):
            if subject.startswith(prefix):
                return {f"{prefix}{each}" for each in self.subjects(subject.removeprefix(prefix))}
        if not is_sharded(subject):
            return {subject}
        if (stream := _stream_of(subject)) is None:  # a request
            return {shard.subject(subject) for shard in self.shards.all}
        return {placed for shard in self.shards.all for placed in stream.places(subject, shard)}

    def all_subjects(self, subjects: Iterable[str]) -> set[str]:
        """Return the subjects of all `subjects`."""
        return {placed for subject in subjects for placed in self.subjects(subject)}

    def all_streams(self, names: Iterable[str]) -> set[str]:
        """Return the names of all these streams; an unknown one is not sharded."""
        return {
            self._streams[name].of(shard).name if name in self._streams else name
            for name in names
            for shard in self.shards.all
        }

    def durables(self, stream: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield each stream and the name of its durable consumer."""
        if stream not in self._streams:
            yield stream, name
            return
        places = (place_of(self._streams[stream], name, shard) for shard in self.shards.all)
        yield from dict.fromkeys((placed.name, durable) for placed, durable in places)


def _stream_of(subject: str) -> Stream | None:
    try:
        return stream_of(subject)
    except KeyError:
        return None
