"""A page of a list: `next` is an opaque cursor, or in lists of events a number."""

from typing import Generic, Literal, TypeVar

from heldout.views.base import View

Item = TypeVar("Item", bound=View)


class Page(View, Generic[Item]):
    """Part of a list. `next` is the `after` of the following part, null at the end."""

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next: str | None


class NumberedPage(View, Generic[Item]):
    """Part of a list whose items are numbered. `next` is the number after which the following part begins, null at
    the end. With `after=latest` the part is empty, and `next` is the number of the list's last item.
    """

    object: Literal["list"]
    data: list[Item]
    has_more: bool
    next: int | None
