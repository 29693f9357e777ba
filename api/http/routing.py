"""The router of every resource: the key first, then the query parameters, then the body."""

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cached_property, partial
from typing import Any

import structlog
from fastapi import APIRouter, Depends
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from api.http.app_context import AppContext
from api.http.auth import get_key, get_unchecked_key, require_valid_caller, require_valid_key
from api.http.body import MAX_OPEN_BODY_BYTES, JsonRequest
from api.http.context import Endpoint, NotedChange, RequestContext, request_context, wrap_in_context
from api.http.deps import NEEDS_A_THREAD
from api.http.places import PlacedResponse, sends_much
from api.http.problems import OPEN_INFERENCE
from api.http.request_id import KNOWN
from heldout.access.scopes import SAFE_METHODS, NeededScope, get_method_scope
from heldout.errors import HeldoutError, InvalidParameter
from heldout.spec.field_errors import make_values_refusal
from heldout.spec.suggestions import ask_whether_meant, suggest_names


def make_router(
    prefix: str,
    tag: str,
    *,
    needs_key: bool = True,
    scope: NeededScope | None = None,
    has_secrets: bool = False,
    is_predicting: bool = False,
) -> APIRouter:
    """A router whose routes need a key, take only query parameters that they document, and read JSON strictly.

    Args:
        scope: that the key must have; `any`: every key will do; None: `read` for requests that read, else `write`.
        has_secrets: what they answer must not be kept by browsers and proxies.
        is_predicting: they are asked so often that a valid key is remembered for a second, and what their answers take
            of memory is bounded elsewhere. They are counted where they are answered.
    """
    kind = {"needs_key": needs_key, "scope": scope, "is_predicting": is_predicting}
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=type("ResourceRoute", (ResourceRoute,), kind),
        dependencies=[Depends(_keep_nowhere)] if has_secrets else [],
    )


class ResourceRoute(APIRoute):
    """A route that looks at the key before anything else of a request, and ends with the commit of its endpoint.

    What a request has changed is noted in the activity log by the same commit.
    """

    needs_key = True
    scope: NeededScope | None = None
    is_predicting = False

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        if self.needs_key:
            options["openapi_extra"] = {"security": [{"key": []}], **(options.get("openapi_extra") or {})}
        super().__init__(path, wrap_in_context(endpoint), **options)
        dependencies = {dependency.call for dependency in _iterate_dependencies(self.dependant)}
        self._looks_key_up_itself = get_unchecked_key in dependencies
        self._sends_much = sends_much in dependencies
        if inspect.iscoroutinefunction(endpoint) and dependencies & NEEDS_A_THREAD:
            raise TypeError(
                f"{endpoint.__name__} is async and asks for a session; use `AppContext.database` in a thread."
            )
        if get_unchecked_key in dependencies and require_valid_caller in dependencies:
            raise TypeError(f"{endpoint.__name__} looks the key up itself; it cannot have the caller too.")
        if self._embed_body_fields:
            raise TypeError(f"{endpoint.__name__} has several body parameters; one model is read as the body.")

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        optional = self.body_field is not None and not self.body_field.field_info.is_required()

        async def handle_key_first(request: Request) -> Response:
            key = get_key(request) if self.needs_key else ""
            scope = self.scope or get_method_scope(request.method)
            app: AppContext = request.app.state.context
            state, change = request.scope["state"], self._change(request, scope)
            with request_context(app, key, state, scope, change) as context, context.held as held:
                if self.needs_key and not self._looks_key_up_itself:
                    await require_valid_key(request, context, is_remembered=self.is_predicting)
                counted = await self._count_request(request, key)
                try:
                    self._require_known_query_parameters(request)
                    if self._sends_much:
                        await app.large_answers.wait_for_place(held, context.caller.owner)
                    if self.body_field is not None:
                        request = JsonRequest(
                            request,
                            self._validate_body,
                            may_be_absent=optional,
                            received=partial(self._receive_body, context),
                            parser_of=context.app.large_bodies.get_parser,
                        )
                    response = await handle(request)
                    if self.needs_key and not self._sends_much and not self.is_predicting:
                        await app.large_answers.take_place_of(response, held, context.caller.owner)
                except Exception as error:
                    # A stranger hears of the key, and not of what else is wrong.
                    if self._looks_key_up_itself and not context.endpoint_called:
                        await require_valid_key(request, context)
                    if isinstance(error, HeldoutError):
                        error.headers |= counted or await self._count_request(request, key)
                    raise
                response.headers.update(counted or await self._count_request(request, key))
                return PlacedResponse(response, held.pop_all())

        return handle_key_first

    def _receive_body(self, context: RequestContext, request: Request) -> AbstractAsyncContextManager[bytes]:
        """The JSON body; without a key a small one at most."""
        limit_bytes, owner = context.app.settings.max_body_bytes, ""
        if self.needs_key:
            owner = context.caller.owner
        else:
            limit_bytes = min(limit_bytes, MAX_OPEN_BODY_BYTES)
        return context.app.large_bodies.received(request, limit_bytes, owner)

    async def _count_request(self, request: Request, key: str) -> Mapping[str, str]:
        """Headers that tell how many more requests the key may send; none as long as it is not known to be valid.

        What strangers make up is not counted: each such key would be kept in memory for the rate's time.
        """
        app: AppContext = request.app.state.context
        if KNOWN not in request.scope["state"] or (self.is_predicting and not app.predictions.is_here):
            return {}
        return await app.rates.count(key)

    def _change(self, request: Request, scope: NeededScope) -> NotedChange | None:
        """What the activity log will say of the request; None where it changes nothing."""
        if not self.needs_key or scope == "read" or request.method in SAFE_METHODS:
            return None
        named = "/".join(str(part) for part in request.path_params.values())
        return NotedChange(
            action=self.name,
            subject=named or None,
            address=None if request.client is None else request.client.host,
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
        )

    def _validate_body(self, content: Any) -> Any:
        try:
            return self._body_adapter.validate_python(content)
        except ValidationError as error:
            raise make_values_refusal(error.errors(include_url=False), content, self._body_kind) from None

    @cached_property
    def _body_adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self._body_kind)

    @property
    def _body_kind(self) -> Any:
        assert self.body_field is not None, "FastAPI asks for the body of routes that have one"
        return self.body_field.field_info.annotation

    def _require_known_query_parameters(self, request: Request) -> None:
        """Raises InvalidParameter for one that the route does not document, and for NUL in those that it does."""
        # Clients of the Open Inference Protocol may send any.
        if not request.scope["query_string"] or self.path.startswith(OPEN_INFERENCE):
            return
        known, keyed = self._query_parameters
        for name, value in request.query_params.multi_items():
            keyed_name = name.partition("[")[0] if name.endswith("]") else None
            if name not in known and keyed_name not in keyed:
                takes = ", ".join(sorted(known | {f"{prefix}[…]" for prefix in keyed})) or "none"
                meant = ask_whether_meant(suggest_names(name[:64], known))
                raise InvalidParameter(
                    f"There is no query parameter {name[:64]!r} here.{meant} This route takes {takes}."
                )
            if "\0" in name or "\0" in value:
                raise InvalidParameter(f"`{name[:64]}` must not hold NUL.")

    @cached_property
    def _query_parameters(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names of query parameters, and names of those that are written `name[key]=value`."""
        known = {field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)}
        extra = (self.openapi_extra or {}).get("parameters", [])
        return frozenset(known), frozenset(
            parameter["name"] for parameter in extra if parameter.get("style") == "deepObject"
        )


async def _keep_nowhere(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


def _iterate_dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for dependency in dependant.dependencies:
        yield dependency
        yield from _iterate_dependencies(dependency)
