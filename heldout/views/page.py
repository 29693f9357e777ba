"""A page of a list."""

from typing import Generic, Literal, TypeVar

from heldout.views.base import View

Item = TypeVar("Item", bound=View)


class Page(View, Generic[Item]):
    """Part of a list. `next` is the `after` of the following part, null at the end."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next: str | None
