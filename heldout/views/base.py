"""What all answers share: the base class of views, times, pages and problems."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


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
    """Return a time in UTC to the millisecond, such as `2025-11-24T15:41:02.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(format_rfc3339, return_type=str, when_used="json-unless-none")]


Item = TypeVar("Item", bound=View)


class Page(View, Generic[Item]):
    """A page of a list. `next` is the `after` of the next page, null at the end."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next: str | None


class NumberedPage(View, Generic[Item]):
    """A page of a list whose items are numbered.

    `next` is the number after which the next page starts, null at the end. With `after=latest`, the page is empty and
    `next` is the number of the list's last item.
    """

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next: int | None


class RequestView(View):
    """A request that applies a fix; `body` is JSON."""

    method: str
    path: str
    body: dict[str, Any]


class ChoiceView(View):
    """One possible next step after a refusal."""

    name: str = Field(description="`show_images`, `fix` or `as_they_are`.")
    title: str = Field(description="Label for a button.")
    request: RequestView


class FieldErrorView(View):
    """One refused value of the request body."""

    pointer: str = Field(description="JSON pointer (RFC 6901) into the body; empty for the whole body.")
    detail: str


class Problem(View):
    """Why a request failed (RFC 9457). `code` is stable; the texts are not."""

    type: str = Field(description="A URI that identifies the code.")
    title: str
    status: int
    detail: str = Field(description="What was received, what was expected, and what to do.")
    code: str
    instance: str = Field(description="The path of the request.")
    errors: list[FieldErrorView]
    request: RequestView | None = Field(
        None, description="A request that fixes the reason for the refusal, if one exists."
    )
    choices: list[ChoiceView] = Field([], description="Possible next steps for a person to choose from, if any.")


class ErrorView(View):
    """Why something failed or was rejected. `code` is stable; the text is not."""

    code: str
    detail: str


class SubjectView(View):
    """What an event, delivery or look at labels is about."""

    object: str = Field(description="`job`, `dataset`, `study`, `model`, `evaluation` or `webhook`.")
    id: str
