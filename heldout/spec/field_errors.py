"""Turns the validator's errors into field errors: a JSON pointer, what was received, and what was expected."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from heldout.errors import FieldError, InvalidSpec
from heldout.spec.documents import make_pointer
from heldout.words.labels import BEYOND_SPECS

SHOWN_CHARACTERS = 100
SHOWN_ERRORS = 50
# A body of one megabyte can have 250,000 errors, and comparing errors of unions takes quadratic time.
EXAMINED_ERRORS = 500
Model = TypeVar("Model", bound=BaseModel)
_JSON_WORDS = (("Dictionary", "Object"), ("dictionary", "object"), ("Tuple", "Array"), ("tuple", "array"))


def list_field_errors(found: Sequence[Mapping[str, Any]], content: Any, kind: Any = None) -> list[FieldError]:
    """List the validator's findings on a value (the first 500), one for each pointer, in the validator's order.

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
            meant = suggest_fields(path, kind, _list_tags(error, path))
            of_other_kind = " It belongs to another kind of this object." if _format_path(path) in meant else ""
            why_not = BEYOND_SPECS.get(str(path[-1]))
            detail += f" {why_not}" if why_not else of_other_kind or ask_whether_meant(meant)
        known = details.setdefault(make_pointer(path), [])
        if detail not in known:
            known.append(detail)
    return [FieldError(pointer, " Or: ".join(texts)) for pointer, texts in list(details.items())[:SHOWN_ERRORS]]


def make_values_refusal(found: Sequence[Mapping[str, Any]], content: Any, kind: Any = None) -> InvalidSpec:
    """Make the validator's findings on a value as one refusal; Args as in `list_field_errors`."""
    errors = list_field_errors(found, content, kind)
    first = f"{errors[0].pointer or 'The body'}: {errors[0].detail}"
    return InvalidSpec(
        first if len(errors) == 1 else f"{len(errors)} values are refused. The first is {first}", errors=errors
    )


def validate(kind: type[Model], content: Any) -> Model:
    """Make the model of a parsed JSON document. Raises InvalidSpec with the refused values."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise make_values_refusal(error.errors(include_url=False), content, kind) from None


def make_patch_refusal(pointer: str, found: Sequence[Mapping[str, Any]], content: Any, kind: Any = None) -> InvalidSpec:
    """Make the validator's findings on what a merge patch at `pointer` of the body has made, as one refusal."""
    errors = [
        FieldError(f"{pointer}{error.pointer}", error.detail) for error in list_field_errors(found, content, kind)
    ]
    return InvalidSpec(f"The changed spec is refused. {errors[0].pointer}: {errors[0].detail}", errors=errors)


def describe_parameter_errors(found: Sequence[Mapping[str, Any]]) -> str:
    """Describe the errors of the first query, path or header parameter among the validator's findings."""
    parameter = found[0]["loc"][:2]
    # A parameter may be absent, but has no way to be null.
    own = [error for error in found if error["loc"][:2] == parameter and error["type"] != "none_required"]
    details = dict.fromkeys(_describe_finding(error) for error in own)
    return f"`{parameter[-1]}`: {' Or: '.join(details)}"


def _walk(error: Mapping[str, Any], content: Any) -> tuple[tuple[str | int, ...], bool]:
    """Return the finding's path in the content, and whether its location also names members of a union."""
    path: tuple[str | int, ...] = ()
    # A validator of several fields says in its context which of them is to blame.
    context = error.get("ctx", {})
    location = (*error["loc"], *context.get("path", ()))
    if error["type"] == "union_tag_invalid":
        location = (*location, context["discriminator"].strip("'"))
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
    """List the parts of a finding's location that name members of unions."""
    return [part for part in error["loc"] if isinstance(part, str) and part not in path]


def _follows(error: Mapping[str, Any]) -> bool:
    """Return whether the error follows from others: a list without any valid item is also reported as too short."""
    return error["type"] == "too_short" and bool(len(error["input"]) >= error["ctx"]["min_length"])


def _describe_finding(error: Mapping[str, Any]) -> str:
    match error["type"]:
        case "missing":
            return "This field is required."
        case "extra_forbidden":
            return "There is no such field."
        case "model_type" | "model_attributes_type":
            return f"Received {_format_value(error['input'])}; expected an object."
        case "union_tag_invalid":
            received = error["input"][error["ctx"]["discriminator"].strip("'")]
            return f"Received {_format_value(received)}; expected one of {error['ctx']['expected_tags']}."
    message = str(error["msg"]).removeprefix("Value error, ").partition(", unable to ")[0]
    message = message.replace(" after validation", "")
    if error["type"] == "value_error":
        begins_with_word = message.partition(" ")[0].isalpha()  # and not with a name, as in `best_epoch: …`
        return f"{message[:1].upper() if begins_with_word else message[:1]}{message[1:]}."
    for ours, json_has in _JSON_WORDS:
        message = message.replace(ours, json_has)
    return f"Received {_format_value(error['input'])}; {message[:1].lower()}{message[1:]}."


def _format_value(value: Any) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


MAX_SUGGESTIONS = 2
# Similarity of letters as difflib computes it: `fliters` and `filters` have 0.86.
MIN_LIKENESS = 0.75
# A longer name is hardly a misspelling, and comparing it takes time.
MAX_CHARACTERS = 64

Path = tuple[str | int, ...]


def suggest_names(name: str, known: Iterable[str]) -> list[str]:
    """Find the known names most similar to a misspelled name, the closest first."""
    if len(name) > MAX_CHARACTERS:
        return []
    by_letters = {_get_letters(other): other for other in known}
    close = get_close_matches(_get_letters(name), by_letters, MAX_SUGGESTIONS, MIN_LIKENESS)
    return [by_letters[letters] for letters in close]


def suggest_fields(path: Sequence[str | int], kind: Any, tags: Iterable[str] = ()) -> list[str]:
    """Find the dotted paths of fields that an unknown field may mean: `training.epochs` for `epochs`.

    Fields of the same object come first, then fields of that name elsewhere in the spec.

    Args:
        path: where the unknown field is; numbers are positions in lists.
        kind: the model that was validated, or any annotation made of models.
        tags: of the members of unions that the value belongs to; the first member of any other tagged union is meant.
    """
    *parent, name = path
    known = frozenset(tags)
    siblings = {name for model in _list_models_at(parent, kind, known) for name in model.model_fields}
    if close := suggest_names(str(name), siblings):
        return [_format_path((*parent, other)) for other in close]
    everywhere = _list_paths(kind, known)
    close = suggest_names(str(name), {str(other[-1]) for other in everywhere})
    found = sorted(
        (other for other in everywhere if other[-1] in close[:1]),
        key=lambda other: (-_count_shared(other, parent), len(other)),
    )
    nearest = [other for other in found if _count_shared(other, parent) == _count_shared(found[0], parent)]
    return list(dict.fromkeys(map(_format_path, nearest)))[:MAX_SUGGESTIONS]


def ask_whether_meant(suggestions: Sequence[str]) -> str:
    """Make a question for the end of a refusal: "Did you mean `training.epochs`?"; empty without suggestions."""
    return f" Did you mean {' or '.join(f'`{name}`' for name in suggestions)}?" if suggestions else ""


def _get_letters(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _format_path(path: Path) -> str:
    return ".".join(map(str, path))


def _count_shared(path: Path, parent: Sequence[str | int]) -> int:
    """Count the leading parts that both share."""
    pairs = zip(path, parent, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(path), len(parent)))


@cache
def _list_paths(kind: Any, tags: frozenset[str]) -> tuple[Path, ...]:
    return tuple(_iterate_paths(kind, tags))


def _iterate_paths(kind: Any, tags: frozenset[str], before: Path = ()) -> Iterator[Path]:
    """Yield the path of every field; lists count as having one item."""
    for model, is_item in _iterate_models(kind, tags):
        for name, field in model.model_fields.items():
            path = (*before, 0, name) if is_item else (*before, name)
            yield path
            yield from _iterate_paths(field.annotation, tags, path)


def _list_models_at(path: Sequence[str | int], kind: Any, tags: frozenset[str]) -> list[type[BaseModel]]:
    """Return the models that the value at a path may have."""
    models = [model for model, _ in _iterate_models(kind, tags)]
    for part in path:
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [model for field in fields for model, _ in _iterate_models(field.annotation, tags)]
    return models


def _iterate_models(
    kind: Any, tags: frozenset[str], *, is_item: bool = False
) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the models in an annotation, and whether each is an item of a list."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, is_item
    parts = get_args(kind)
    tagged = {tag: part for part in parts for tag in get_args(part) if isinstance(tag, Tag)}
    if tagged:
        meant = [part for tag, part in tagged.items() if tag.tag in tags]
        parts = (*(meant or [next(iter(tagged.values()))]),)
    for part in parts:
        yield from _iterate_models(part, tags, is_item=is_item or get_origin(kind) in (list, tuple))
