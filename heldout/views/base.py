"""The base class of all views, and times."""

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PlainSerializer


class View(BaseModel):
    """Base class of everything that the API returns."""

    model_config = ConfigDict(frozen=True, defer_build=True)


Answer = TypeVar("Answer", bound=View)


def make_view(view: type[Answer], source: object, **given: Any) -> Answer:
    """Make the view of a row or stored value from `given` and, for all other fields, the attributes of the same name.

    Parts of stored values become views in the same way.
    """
    values = {name: getattr(source, name) for name in view.model_fields if name not in given}
    return view.model_validate(values | given, from_attributes=True)


def dump_json(model: BaseModel) -> dict[str, Any]:
    """The model as JSON, as the service sent it: with fields unknown to this version, and without absent ones."""
    dumped = model.model_dump(mode="json")
    names = model.model_fields_set & dumped.keys() if isinstance(model, View) else dumped.keys()
    known = {name: _simplify(getattr(model, name), dumped[name]) for name in dumped if name in names}
    return {**known, **(model.model_extra or {})}


def _simplify(value: Any, dumped: Any) -> Any:
    """`dumped` is the value as JSON without unknown fields."""
    if isinstance(value, BaseModel):
        return dump_json(value)
    if isinstance(value, list | tuple):
        return [_simplify(*pair) for pair in zip(value, dumped, strict=True)]
    if isinstance(value, dict):
        return {key: _simplify(*pair) for key, *pair in zip(dumped, value.values(), dumped.values(), strict=True)}
    return dumped


def format_rfc3339(moment: datetime) -> str:
    """A time in UTC to the millisecond, such as `2025-11-24T15:41:02.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(format_rfc3339, return_type=str, when_used="json-unless-none")]
