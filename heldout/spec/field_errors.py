"""Turns the validator's errors into field errors: a JSON pointer, what was received, and what was expected."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from heldout.errors import FieldError, InvalidSpec
from heldout.spec.json_pointer import make_pointer
from heldout.spec.suggestions import ask_whether_meant, suggest_fields
from heldout.words.scope import BEYOND_SPECS

SHOWN_CHARACTERS = 100
SHOWN_ERRORS = 50
# A body of one megabyte can have 250,000 errors, and comparing errors of unions takes quadratic time.
EXAMINED_ERRORS = 500
_JSON_WORDS = (("Dictionary", "Object"), ("dictionary", "object"), ("Tuple", "Array"), ("tuple", "array"))


def list_field_errors(found: Sequence[Mapping[str, Any]], content: Any, kind: Any = None) -> list[FieldError]:
    """The validator's findings on a value (the first 500), one for each pointer, in the validator's order.

    Args:
        found: Pydantic's error dictionaries.
        content: what was validated; locations name members of unions too, which only the content tells from fields.
        kind: the model, or the annotation, that it was validated by; unknown fields get suggestions from it.
    """
    located = [(*_walk(error, content), error) for error in found[:EXAMINED_ERRORS] if not _follows(error)]
    details: dict[str, list[str]] = {}
    for path, in_union, error in located:
        # For a union, the errors of the member that matched the value most deeply describe it best.
        if in_union and any(len(other) > len(path) and other[: len(path)] == path for other, _, _ in located):
            continue
        detail = _describe_finding(error)
        if error["type"] == "extra_forbidden" and len(details) < SHOWN_ERRORS:
            why_not = BEYOND_SPECS.get(str(path[-1]))
            meant = ask_whether_meant(suggest_fields(path, kind, _list_tags(error, path)))
            detail += f" {why_not}" if why_not else meant
        known = details.setdefault(make_pointer(path), [])
        if detail not in known:
            known.append(detail)
    return [FieldError(pointer, " Or: ".join(texts)) for pointer, texts in list(details.items())[:SHOWN_ERRORS]]


def make_values_refusal(found: Sequence[Mapping[str, Any]], content: Any, kind: Any = None) -> InvalidSpec:
    """The validator's findings on a value as one refusal; Args as in `list_field_errors`."""
    errors = list_field_errors(found, content, kind)
    first = f"{errors[0].pointer or 'The body'}: {errors[0].detail}"
    return InvalidSpec(
        first if len(errors) == 1 else f"{len(errors)} values are refused. The first is {first}", errors=errors
    )


def make_patch_refusal(pointer: str, found: Sequence[Mapping[str, Any]], content: Any, kind: Any = None) -> InvalidSpec:
    """The validator's findings on what a merge patch at `pointer` of the body has made, as one refusal."""
    errors = [
        FieldError(f"{pointer}{error.pointer}", error.detail) for error in list_field_errors(found, content, kind)
    ]
    return InvalidSpec(f"The changed spec is refused. {errors[0].pointer}: {errors[0].detail}", errors=errors)


def describe_parameter_error(error: Mapping[str, Any]) -> str:
    """Describe the error of a query, path or header parameter."""
    location = error["loc"]
    return f"`{location[1] if len(location) > 1 else location[0]}`: {_describe_finding(error)}"


def _walk(error: Mapping[str, Any], content: Any) -> tuple[tuple[str | int, ...], bool]:
    """The finding's path in the content, and whether its location also names members of a union."""
    path: tuple[str | int, ...] = ()
    # A validator of several fields says in its context which of them is to blame.
    location = (*error["loc"], *error.get("ctx", {}).get("path", ()))
    skipped = False
    for index, part in enumerate(location):
        if part in (content if isinstance(content, dict) else range(len(content) if isinstance(content, list) else 0)):
            content = content[part]
        elif error["type"] == "missing" and index == len(location) - 1:
            content = None
        else:
            skipped = True
            continue
        path = (*path, part)
    return path, skipped


def _list_tags(error: Mapping[str, Any], path: Sequence[str | int]) -> list[str]:
    """The parts of a finding's location that name members of unions."""
    return [part for part in error["loc"] if isinstance(part, str) and part not in path]


def _follows(error: Mapping[str, Any]) -> bool:
    """Whether the error follows from others: a list without any valid item is also reported as too short."""
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
