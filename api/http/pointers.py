"""Turns the validator's errors into refusals with a JSON pointer, what was received, and what was expected."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from heldout.errors import FieldError
from heldout.spec.json_pointer import make_pointer

SHOWN_CHARACTERS = 100
SHOWN_ERRORS = 50
# A body of a megabyte can have 250,000 errors, and comparing those of unions takes the square of their number.
EXAMINED_ERRORS = 500
_JSON_WORDS = (("Dictionary", "Object"), ("dictionary", "object"), ("Tuple", "Array"), ("tuple", "array"))


def list_field_errors(found: Sequence[Mapping[str, Any]], body: Any) -> list[FieldError]:
    """The validator's findings on a body (the first 500), one for each pointer, in the validator's order.

    Args:
        found: Pydantic's error dictionaries with locations that begin with "body".
        body: what was validated; locations name members of unions too, which only the body tells from fields.
    """
    located = [(*_walk(error, body), error) for error in found[:EXAMINED_ERRORS] if not _follows(error)]
    details: dict[str, list[str]] = {}
    for path, in_union, error in located:
        # Of a union, the member that went further into the value says what is wrong with it.
        if in_union and any(len(other) > len(path) and other[: len(path)] == path for other, _, _ in located):
            continue
        detail = _describe_finding(error)
        known = details.setdefault(make_pointer(path), [])
        if detail not in known:
            known.append(detail)
    return [FieldError(pointer, " Or: ".join(texts)) for pointer, texts in list(details.items())[:SHOWN_ERRORS]]


def describe_parameter_error(error: Mapping[str, Any]) -> str:
    """What is wrong with a query, path or header parameter."""
    location = error["loc"]
    return f"`{location[1] if len(location) > 1 else location[0]}`: {_describe_finding(error)}"


def _walk(error: Mapping[str, Any], body: Any) -> tuple[tuple[str | int, ...], bool]:
    """The finding's path in the body, and whether its location also names members of a union."""
    path: tuple[str | int, ...] = ()
    # A validator of several fields says in its context which of them is to blame.
    location = (*error["loc"][1:], *error.get("ctx", {}).get("path", ()))
    skipped = False
    for index, part in enumerate(location):
        if part in (body if isinstance(body, dict) else range(len(body) if isinstance(body, list) else 0)):
            body = body[part]
        elif error["type"] == "missing" and index == len(location) - 1:
            body = None
        else:
            skipped = True
            continue
        path = (*path, part)
    return path, skipped


def _follows(error: Mapping[str, Any]) -> bool:
    """Whether it only follows from other findings: a list counts as too short when none of its items is valid."""
    return error["type"] == "too_short" and bool(len(error["input"]) >= error["ctx"]["min_length"])


def _describe_finding(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "missing":
            return "This field is required."
        case "extra_forbidden":
            return "There is no such field."
        case "model_type" | "model_attributes_type":
            return f"Received {_format_value(error['input'])}; expected an object."
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{message}."
    for ours, json_has in _JSON_WORDS:
        message = message.replace(ours, json_has)
    return f"Received {_format_value(error['input'])}; {message[:1].lower()}{message[1:]}."


def _format_value(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
