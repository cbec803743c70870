"""Words that the documents of the small system are written in."""

import json
from typing import Any

Json = dict[str, Any]


def own(said: Json) -> Json:
    """Copy it so that no two places are one: what is changed in one of them stays there."""
    found: Json = json.loads(json.dumps(said))
    return found


def reference(*way: str) -> Json:
    return {"$ref": "#/" + "/".join(way)}


def schema(name: str) -> Json:
    return reference("components", "schemas", name)


def an_object(required: list[str], **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": required}


TEXT: Json = {"type": "string"}
UUID: Json = {"type": "string", "format": "uuid"}
TIME: Json = {"type": "string", "format": "date-time"}
NULL: Json = {"type": "null"}
