"""Pages of lists: `next` is an opaque cursor or, in lists of events, a number."""

from typing import Generic, Literal, TypeVar

from heldout.views.base import View

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
