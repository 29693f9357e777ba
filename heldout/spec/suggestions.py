"""Guesses which name a misspelled field, option or command was meant to be."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Tag

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
