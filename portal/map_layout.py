"""The layout of the map: publishers on the left, subjects in the middle, consumers on the right, in SVG units."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

from kit.asyncapi.reader import CONSUMER_ROLES, PUBLISHER_ROLES, DocumentedOperation, DocumentReader

WIDTH = 1160
_NODE_WIDTH, _NODE_GAP, _MIN_NODE_HEIGHT, _PORT_GAP = 150, 26, 58, 7
_BOX_LEFT, _BOX_WIDTH = 400, 360
_ROW_HEIGHT, _HEAD_HEIGHT, _BOX_GAP, _FOOT_HEIGHT = 27, 36, 20, 8
_MARGIN = 8
_KIND_ORDER = {"command": 0, "request": 1, "event": 2}


class Row(NamedTuple):
    """One subject in a box, with its message; `y` is its middle."""

    subject: str
    message: str
    kind: str
    y: float
    operations: list[DocumentedOperation]


class Box(NamedTuple):
    """A group of subjects: those of one stream, or the requests that one service replies to."""

    title: str
    stream: str
    service: str
    kind: str
    y: float
    height: float
    rows: list[Row]


class Node(NamedTuple):
    """A service on one side of the map."""

    service: str
    x: float
    y: float
    height: float
    messages: int


class Edge(NamedTuple):
    """One operation; `path` is its curve, `tip` the point of its arrow."""

    service: str
    message: str
    role: str
    kind: str
    path: str
    tip: tuple[float, float]


class MapLayout(NamedTuple):
    """All parts of the map with their positions; the map is `width` units wide."""

    height: float
    boxes: list[Box]
    left: list[Node]
    right: list[Node]
    edges: list[Edge]
    box_left: float = _BOX_LEFT
    box_width: float = _BOX_WIDTH
    node_width: float = _NODE_WIDTH
    head_height: float = _HEAD_HEIGHT
    row_height: float = _ROW_HEIGHT
    width: float = WIDTH


def lay_out(system: DocumentReader) -> MapLayout:
    """Return the map of the system."""
    boxes = _boxes(system)
    height = boxes[-1].y + boxes[-1].height + _MARGIN if boxes else 2.0 * _MARGIN
    rows = [row for box in boxes for row in box.rows]
    left, left_edges = _side(rows, PUBLISHER_ROLES, height, is_left=True)
    right, right_edges = _side(rows, CONSUMER_ROLES, height, is_left=False)
    bottom = max((node.y + node.height + _MARGIN for node in [*left, *right]), default=0.0)
    return MapLayout(max(height, bottom), boxes, left, right, [*left_edges, *right_edges])


def _boxes(system: DocumentReader) -> list[Box]:
    groups: dict[tuple[int, str, str], list[tuple[str, str]]] = defaultdict(list)
    for channel in system.channels.values():
        for message in channel.messages if channel.address else ():
            kind = system.kind_of(message)
            stream = str(channel.stream.get("name", ""))
            service = next((operation.service for operation in system.consumers(message)), "")
            groups[_KIND_ORDER.get(kind, 3), stream, "" if stream else service].append((channel.address, message))
    y = float(_MARGIN)
    boxes = []
    for (_, stream, service), subjects in sorted(groups.items()):
        height = _HEAD_HEIGHT + _ROW_HEIGHT * len(subjects) + _FOOT_HEIGHT
        rows = [
            Row(
                subject,
                message,
                system.kind_of(message),
                y + _HEAD_HEIGHT + _ROW_HEIGHT * (index + 0.5),
                list(system.by_message.get(message, ())),
            )
            for index, (subject, message) in enumerate(subjects)
        ]
        title = stream or (f"Requests to {service}" if service else "Requests without a replying service")
        boxes.append(Box(title, stream, service, rows[0].kind, y, height, rows))
        y += height + _BOX_GAP
    return boxes


def _side(rows: Sequence[Row], roles: Iterable[str], height: float, *, is_left: bool) -> tuple[list[Node], list[Edge]]:
    by_service: dict[str, list[tuple[Row, DocumentedOperation]]] = defaultdict(list)
    for row in rows:
        for operation in row.operations:
            if operation.role in roles:
                by_service[operation.service].append((row, operation))
    middles = {service: sum(row.y for row, _ in pairs) / len(pairs) for service, pairs in by_service.items()}
    order = sorted(middles, key=lambda service: (middles[service], service))
    heights = {service: max(_MIN_NODE_HEIGHT, _PORT_GAP * (len(by_service[service]) + 1)) for service in order}
    tops = _spread([middles[service] - heights[service] / 2 for service in order], list(heights.values()), height)
    nodes, edges = [], []
    for service, top in zip(order, tops, strict=True):
        x = 0.0 + _MARGIN if is_left else float(WIDTH - _NODE_WIDTH - _MARGIN)
        node = Node(service, x, top, heights[service], len(by_service[service]))
        nodes.append(node)
        step = node.height / (node.messages + 1)
        edges += [
            _edge(node, port * step, *pair, is_left=is_left)
            for port, pair in zip(count(1), by_service[service], strict=False)
        ]
    return nodes, edges


def _spread(tops: list[float], heights: list[int], height: float) -> list[float]:
    """Return tops that do not overlap: moved down, and up again from the bottom of the map."""
    placed: list[float] = []
    for top, _ in zip(tops, heights, strict=True):
        minimum = placed[-1] + heights[len(placed) - 1] + _NODE_GAP if placed else _MARGIN
        placed.append(max(top, minimum))
    limit = height - _MARGIN
    for index in reversed(range(len(placed))):
        placed[index] = max(min(placed[index], limit - heights[index]), _MARGIN)
        limit = placed[index] - _NODE_GAP
    for index in range(1, len(placed)):  # if the map is too low for its services, it grows
        placed[index] = max(placed[index], placed[index - 1] + heights[index - 1] + _NODE_GAP)
    return placed


def _edge(node: Node, port: float, row: Row, operation: DocumentedOperation, *, is_left: bool) -> Edge:
    start, end = (node.x + _NODE_WIDTH, node.y + port), (float(_BOX_LEFT), row.y)
    if not is_left:
        start, end = (float(_BOX_LEFT + _BOX_WIDTH), row.y), (node.x, node.y + port)
    bend = (start[0] + end[0]) / 2
    path = f"M{start[0]:g} {start[1]:.1f}C{bend:g} {start[1]:.1f} {bend:g} {end[1]:.1f} {end[0] - 6:g} {end[1]:.1f}"
    return Edge(operation.service, row.message, operation.role, row.kind, path, end)
