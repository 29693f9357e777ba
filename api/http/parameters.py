"""Query parameters: pages of lists, which are bounded in bytes, filters of jobs, and times."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query, Request
from pydantic import AwareDatetime, BeforeValidator

from api.http.problems import raises
from heldout.errors import InvalidCursor, InvalidParameter
from heldout.views.base import Page, View
from heldout.views.job import Status
from models.ids import is_id
from models.store.listing import Filters

# A page ends before an item that would make it larger than this, unless the item is its only one.
PAGE_BYTES = 1_000_000
LIMIT = "Maximum number of items. A page of large items has fewer, to stay within about one megabyte."
# Rows in memory at once. A row has a few hundred kilobytes at most.
ROWS_AT_ONCE = 20
Item = TypeVar("Item", bound=View)
PageType = TypeVar("PageType", bound=Page[Any])


@dataclass(frozen=True)
class AskedPage:
    """The maximum number of items that a client wants, and the id to continue after. None: from the beginning."""

    limit: int
    after: str | None

    def fill(
        self, page: type[PageType], ids: Sequence[str], views: Callable[[Sequence[str]], Iterable[View]]
    ) -> PageType:
        """Build the page of the items with these ids. It has fewer items than asked for if these are large.

        Args:
            ids: in the list's order. One more than `limit` if there are more.
            views: returns the items of some ids, in their order, without items deleted meanwhile.
        """
        wanted = ids[: self.limit]
        data, last, size = list[Any](), None, 0
        for start in range(0, len(wanted), ROWS_AT_ONCE):
            block = wanted[start : start + ROWS_AT_ONCE]
            for item in views(block):
                size += measure_size(item)
                if data and size > PAGE_BYTES:
                    return make_page(page, data, has_more=True)
                data.append(item)
            last = block[-1]
        has_more = len(ids) > len(wanted)
        return page(object="list", data=data, has_more=has_more, next=last if has_more else None)


def make_page(page: type[PageType], data: Sequence[Any], *, has_more: bool = False) -> PageType:
    """Build a page of these items. The next page continues after the last one."""
    return page(object="list", data=list(data), has_more=has_more, next=data[-1].id if has_more else None)


def measure_size(item: View) -> int:
    """Measure the size of an item as JSON, in bytes."""
    return len(item.model_dump_json().encode())


def cut_to_page(items: list[Item]) -> list[Item]:
    """Return as many of the first items as one page may hold."""
    size = 0
    for place, item in enumerate(items):
        size += measure_size(item)
        if place and size > PAGE_BYTES:
            return items[:place]
    return items


# For lists that continue at a position.
PageLimit = Annotated[int, Query(ge=1, le=200)]
PageStart = Annotated[int, Query(ge=0, le=2**31 - 1, description="`next` of the previous page.")]
OnlyClass = Annotated[
    str | None, Query(alias="class", max_length=256, description="Only this class, a name in `classes`.")
]


def make_page_dependency(prefix: str) -> Any:
    """Make the dependency that reads `limit` and `after` for a list of items with ids `<prefix>_…`.

    Raises:
        InvalidCursor: if `after` cannot be such an id.
    """
    form = {"pattern": f"^{prefix}_[0-9a-z]{{26}}$"}

    @raises(InvalidCursor)
    async def read(
        limit: Annotated[int, Query(ge=1, le=200, description=LIMIT)] = 20,
        after: Annotated[str | None, Query(description="`next` of the previous page.", json_schema_extra=form)] = None,
    ) -> AskedPage:
        if after is not None and not is_id(prefix, after):
            raise InvalidCursor
        return AskedPage(limit, after)

    return Depends(read)


_METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)

# For the `openapi_extra` of routes that take FiltersDep.
METADATA_PARAMETER: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "description": "`metadata[key]=value`: only jobs with this pair. Repeat it to require several pairs.",
            "style": "deepObject",
            "explode": True,
            "schema": {
                "type": "object",
                "maxProperties": 16,
                "propertyNames": {"minLength": 1, "maxLength": 64, "pattern": "^[^\\u0000]*$"},
                "additionalProperties": {"type": "string", "maxLength": 512, "pattern": "^[^\\u0000]*$"},
            },
        }
    ]
}


async def _parse_metadata(request: Request) -> dict[str, str]:
    """Parse the pairs of `metadata[key]=value`."""
    pairs = [
        (match[1], value) for name, value in request.query_params.multi_items() if (match := _METADATA.fullmatch(name))
    ]
    if len(pairs) > 16 or not all(1 <= len(key) <= 64 and len(value) <= 512 for key, value in pairs):
        raise InvalidParameter(
            "`metadata[key]=value`: at most 16 pairs, with keys of 1 to 64 and values of up to 512 characters."
        )
    return dict(pairs)


async def _parse_filters(
    metadata: Annotated[dict[str, str], Depends(_parse_metadata)],
    status: Annotated[list[Status], Query(description="Only jobs with this status. Repeat it for several.")] = [],  # noqa: B006  (never changed)
    dataset: Annotated[
        str | None, Query(max_length=160, description="Only jobs on this dataset: a name, `name@version` or an id.")
    ] = None,
    study: Annotated[
        str | None, Query(max_length=40, description="Only jobs of this study. `none`: only jobs of no study.")
    ] = None,
    search: Annotated[
        str | None,
        Query(
            max_length=128,
            description="Only jobs with this text in their name, in any case, or at the start of their id.",
        ),
    ] = None,
) -> Filters:
    return Filters(statuses=status, dataset=dataset, metadata=metadata, study=study, search=search)


FiltersDep = Annotated[Filters, Depends(_parse_filters)]


_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _require_text(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _DATE.match(value)):
        return value
    raise ValueError("send a time in RFC 3339 format, such as 2026-01-31T12:00:00Z")


Moment = Annotated[datetime, BeforeValidator(_require_text)]
MomentWithZone = Annotated[AwareDatetime, BeforeValidator(_require_text)]
