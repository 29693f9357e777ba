"""Lists, part by part: their parameters `limit` and `after`."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query

from heldout.errors import InvalidCursor
from models.ids import is_id


@dataclass(frozen=True)
class AskedPage:
    """At most how many items a client wants, and after which one; None is the beginning."""

    limit: int
    after: str | None


def page_of(prefix: str) -> Any:
    """The dependency that reads what part of a list is wanted, whose items have ids `<prefix>_…`.

    Raises:
        InvalidCursor: `after` cannot be such an id.
    """
    form = {"pattern": f"^{prefix}_[0-9a-z]{{26}}$"}

    async def read(
        limit: Annotated[int, Query(ge=1, le=200)] = 20,
        after: Annotated[str | None, Query(description="`next` of the page before.", json_schema_extra=form)] = None,
    ) -> AskedPage:
        if after is not None and not is_id(prefix, after):
            raise InvalidCursor
        return AskedPage(limit, after)

    return Depends(read)
