"""The router that every resource begins with."""

from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from api.http.auth import bearer
from api.http.body import JsonRequest, require_readable
from api.http.context import Endpoint, admit, visiting
from heldout.errors import InvalidParameter


def resource(prefix: str, tag: str) -> APIRouter:
    """A router whose routes need a key, take no parameter that they do not document, and read bodies strictly."""
    return APIRouter(
        prefix=prefix, tags=[tag], route_class=ResourceRoute, dependencies=[Depends(bearer), Depends(_acceptable)]
    )


class ResourceRoute(APIRoute):
    """A route whose endpoint is called in a visit. Whatever is wrong with a request, its key is judged first."""

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, visiting(endpoint), **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_strictly(request: Request) -> Response:
            try:
                return await handle(JsonRequest(request.scope, request.receive))
            except Exception:
                await admit(request)
                raise

        return handle_strictly

    @cached_property
    def query_parameters(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names of query parameters, and names of those that are written `name[key]=value`."""
        known = {field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)}
        extra = (self.openapi_extra or {}).get("parameters", [])
        return frozenset(known), frozenset(one["name"] for one in extra if one.get("style") == "deepObject")


async def _acceptable(request: Request) -> None:
    """Refuse query parameters that the route does not document, NUL in those that it does, and unreadable bodies."""
    if request.scope["query_string"]:
        _require_known(request)
    require_readable(request)


def _require_known(request: Request) -> None:
    known, families = request.scope["route"].query_parameters
    for name, value in request.query_params.multi_items():
        family = name.partition("[")[0] if name.endswith("]") else None
        if name not in known and family not in families:
            takes = ", ".join(sorted(known | {f"{one}[…]" for one in families})) or "none"
            raise InvalidParameter(f"There is no query parameter {name[:64]!r} here; this route takes {takes}.")
        if "\0" in name or "\0" in value:
            raise InvalidParameter(f"`{name[:64]}` must not hold NUL.")
