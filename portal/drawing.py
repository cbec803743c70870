"""The map: services that send on the left, subjects in the middle, services that take on the right; all as figures."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import count
from typing import NamedTuple

from portal.system import FROM, TO, Operation, System

WIDTH = 1160
_NODE_WIDTH, _NODE_GAP, _NODE_LEAST, _PORT = 150, 26, 58, 7
_BOX_LEFT, _BOX_WIDTH = 400, 360
_ROW, _HEAD, _BOX_GAP, _FOOT = 27, 36, 20, 8
_MARGIN = 8
_ORDER = {"command": 0, "request": 1, "event": 2}


class Row(NamedTuple):
    """One subject in a box, with the message that travels under it."""

    subject: str
    message: str
    kind: str
    y: float
    by: list[Operation]


class Box(NamedTuple):
    """What belongs together: a stream, or the requests that one service answers."""

    title: str
    stream: str
    service: str
    kind: str
    y: float
    height: float
    rows: list[Row]


class Node(NamedTuple):
    """A service, on one side."""

    service: str
    x: float
    y: float
    height: float
    messages: int


class Edge(NamedTuple):
    """That a service sends or takes what is in a row; `path` is its curve, `tip` the point of its arrow."""

    service: str
    role: str
    kind: str
    path: str
    tip: tuple[float, float]


class Drawing(NamedTuple):
    """Everything with its place, in units of which the map is `WIDTH` wide."""

    height: float
    boxes: list[Box]
    left: list[Node]
    right: list[Node]
    edges: list[Edge]
    box_left: float = _BOX_LEFT
    box_width: float = _BOX_WIDTH
    node_width: float = _NODE_WIDTH
    head: float = _HEAD
    row: float = _ROW
    width: float = WIDTH


def draw(system: System) -> Drawing:
    """Lay out the system's map."""
    boxes = _boxes(system)
    height = boxes[-1].y + boxes[-1].height + _MARGIN if boxes else 2.0 * _MARGIN
    rows = [row for box in boxes for row in box.rows]
    left, left_edges = _side(rows, FROM, height, out=True)
    right, right_edges = _side(rows, TO, height, out=False)
    lowest = max((node.y + node.height + _MARGIN for node in [*left, *right]), default=0.0)
    return Drawing(max(height, lowest), boxes, left, right, [*left_edges, *right_edges])


def _boxes(system: System) -> list[Box]:
    groups: dict[tuple[int, str, str], list[tuple[str, str]]] = defaultdict(list)
    for channel in system.channels.values():
        for message in channel.messages if channel.address else ():
            kind = system.kind_of(message)
            stream = str(channel.stream.get("name", ""))
            answering = next((operation.service for operation in system.who(message, TO)), "")
            groups[_ORDER.get(kind, 3), stream, "" if stream else answering].append((channel.address, message))
    y = float(_MARGIN)
    boxes = []
    for (_, stream, service), found in sorted(groups.items()):
        height = _HEAD + _ROW * len(found) + _FOOT
        rows = [
            Row(subject, message, system.kind_of(message), y + _HEAD + _ROW * (at + 0.5), _operations(system, message))
            for at, (subject, message) in enumerate(found)
        ]
        title = stream or (f"Requests to {service}" if service else "Requests that nobody answers")
        boxes.append(Box(title, stream, service, rows[0].kind, y, height, rows))
        y += height + _BOX_GAP
    return boxes


def _operations(system: System, message: str) -> list[Operation]:
    return list(system.by_message.get(message, ()))


def _side(rows: Sequence[Row], roles: Iterable[str], height: float, *, out: bool) -> tuple[list[Node], list[Edge]]:
    wanted: dict[str, list[tuple[Row, Operation]]] = defaultdict(list)
    for row in rows:
        for operation in row.by:
            if operation.role in roles:
                wanted[operation.service].append((row, operation))
    middles = {service: sum(row.y for row, _ in found) / len(found) for service, found in wanted.items()}
    order = sorted(middles, key=lambda service: (middles[service], service))
    heights = {service: max(_NODE_LEAST, _PORT * (len(wanted[service]) + 1)) for service in order}
    tops = _spread([middles[service] - heights[service] / 2 for service in order], list(heights.values()), height)
    nodes, edges = [], []
    for service, top in zip(order, tops, strict=True):
        x = 0.0 + _MARGIN if out else float(WIDTH - _NODE_WIDTH - _MARGIN)
        node = Node(service, x, top, heights[service], len(wanted[service]))
        nodes.append(node)
        step = node.height / (node.messages + 1)
        edges += [_edge(node, at * step, *found, out=out) for at, found in zip(count(1), wanted[service], strict=False)]
    return nodes, edges


def _spread(tops: list[float], heights: list[int], height: float) -> list[float]:
    """Push apart what overlaps, down and then up again where the end is reached."""
    placed: list[float] = []
    for top, _ in zip(tops, heights, strict=True):
        least = placed[-1] + heights[len(placed) - 1] + _NODE_GAP if placed else _MARGIN
        placed.append(max(top, least))
    most = height - _MARGIN
    for at in reversed(range(len(placed))):
        placed[at] = max(min(placed[at], most - heights[at]), _MARGIN)
        most = placed[at] - _NODE_GAP
    for at in range(1, len(placed)):  # a map that is too low for its services grows
        placed[at] = max(placed[at], placed[at - 1] + heights[at - 1] + _NODE_GAP)
    return placed


def _edge(node: Node, port: float, row: Row, operation: Operation, *, out: bool) -> Edge:
    start, end = (node.x + _NODE_WIDTH, node.y + port), (float(_BOX_LEFT), row.y)
    if not out:
        start, end = (float(_BOX_LEFT + _BOX_WIDTH), row.y), (node.x, node.y + port)
    bend = (start[0] + end[0]) / 2
    path = f"M{start[0]:g} {start[1]:.1f}C{bend:g} {start[1]:.1f} {bend:g} {end[1]:.1f} {end[0] - 6:g} {end[1]:.1f}"
    return Edge(operation.service, operation.role, row.kind, path, end)
