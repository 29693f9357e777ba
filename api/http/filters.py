"""Query parameters that filter jobs: for lists, and for cancelling many at once."""

import re
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from heldout.errors import InvalidParameter
from heldout.views.job import Status
from models.store.narrowing import Filters

_METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)

# For the `openapi_extra` of routes that take FiltersDep.
METADATA_PARAMETER: dict[str, Any] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "description": "`metadata[key]=value`: jobs that bear this pair; several must all hold.",
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


async def _metadata(request: Request) -> dict[str, str]:
    """`metadata[key]=value`, each pair once."""
    pairs = [
        (match[1], value) for name, value in request.query_params.multi_items() if (match := _METADATA.fullmatch(name))
    ]
    if len(pairs) > 16 or not all(1 <= len(key) <= 64 and len(value) <= 512 for key, value in pairs):
        raise InvalidParameter("`metadata[key]=value`: 16 pairs, keys of 1 to 64 and values of 512 characters at most.")
    return dict(pairs)


async def _filters(
    metadata: Annotated[dict[str, str], Depends(_metadata)],
    status: Annotated[list[Status], Query(description="Repeat it for several.")] = [],  # noqa: B006  (never changed)
    dataset: Annotated[str | None, Query(max_length=160, description="A name, `name@version` or an id.")] = None,
    study: Annotated[
        str | None, Query(max_length=40, description="The study whose trainings they are; `none`: those of no study.")
    ] = None,
    search: Annotated[str | None, Query(max_length=128, description="A part of the name, in any case.")] = None,
) -> Filters:
    return Filters(statuses=status, dataset=dataset, metadata=metadata, study=study, search=search)


FiltersDep = Annotated[Filters, Depends(_filters)]
