"""Building blocks for the documents of the small system."""

import json
from typing import Any

Json = dict[str, Any]


def own(value: Json) -> Json:
    """Return a copy in which no two places share an object."""
    copied: Json = json.loads(json.dumps(value))
    return copied


def reference(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}


def schema(name: str) -> Json:
    return reference("components", "schemas", name)


def an_object(required: list[str], **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": required}


TEXT: Json = {"type": "string"}
UUID: Json = {"type": "string", "format": "uuid"}
TIME: Json = {"type": "string", "format": "date-time"}
NULL: Json = {"type": "null"}
