"""The router that every resource begins with."""

from fastapi import APIRouter, Depends

from api.auth import authenticate
from api.body import JsonRoute, readable_body
from api.deps import only_known_parameters


def resource(prefix: str, tag: str) -> APIRouter:
    """A router whose routes need a key, take no parameter that they do not document, and read bodies strictly."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=JsonRoute,
        dependencies=[Depends(authenticate), Depends(only_known_parameters), Depends(readable_body)],
    )
