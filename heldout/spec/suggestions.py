"""Guesses which name a misspelled field, option or command was meant to be."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel

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


def suggest_fields(path: Sequence[str | int], kind: Any) -> list[str]:
    """Find the dotted paths of fields that an unknown field may mean: `training.epochs` for `epochs`.

    Fields of the same object come first, then fields of that name elsewhere in the spec.

    Args:
        path: where the unknown field is; numbers are positions in lists.
        kind: the model that was validated, or any annotation made of models.
    """
    *parent, name = path
    siblings = {name for model in _list_models_at(parent, kind) for name in model.model_fields}
    if close := suggest_names(str(name), siblings):
        return [_format_path((*parent, other)) for other in close]
    everywhere = _list_paths(kind)
    close = suggest_names(str(name), {str(other[-1]) for other in everywhere})
    found = sorted(
        (other for other in everywhere if other[-1] in close[:1]),
        key=lambda other: (-_count_shared(other, parent), len(other)),
    )
    return list(dict.fromkeys(map(_format_path, found)))[:MAX_SUGGESTIONS]


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
def _list_paths(kind: Any) -> tuple[Path, ...]:
    return tuple(_iterate_paths(kind))


def _iterate_paths(kind: Any, before: Path = ()) -> Iterator[Path]:
    """Yield the path of every field; lists count as having one item."""
    for model, is_item in _iterate_models(kind):
        for name, field in model.model_fields.items():
            path = (*before, 0, name) if is_item else (*before, name)
            yield path
            yield from _iterate_paths(field.annotation, path)


def _list_models_at(path: Sequence[str | int], kind: Any) -> list[type[BaseModel]]:
    """Return the models that the value at a path may have."""
    models = [model for model, _ in _iterate_models(kind)]
    for part in path:
        if isinstance(part, str):
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            models = [model for field in fields for model, _ in _iterate_models(field.annotation)]
    return models


def _iterate_models(kind: Any, *, is_item: bool = False) -> Iterator[tuple[type[BaseModel], bool]]:
    """Yield the models in an annotation, and whether each is an item of a list."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind, is_item
    for part in get_args(kind):
        yield from _iterate_models(part, is_item=is_item or get_origin(kind) in (list, tuple))
