"""JSON for people: what fits in a line is on one line."""

import json
from typing import Any

LINE = 160


def json_text(value: Any, indent: int = 0) -> str:
    """In ASCII, with two spaces a level."""
    line = json.dumps(value)
    if len(line) + indent <= LINE or not isinstance(value, dict | list) or not value:
        return line
    inner = " " * (indent + 2)
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {json_text(part, indent + 2)}" for key, part in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    parts = [inner + json_text(part, indent + 2) for part in value]
    return "[\n" + ",\n".join(parts) + "\n" + " " * indent + "]"
