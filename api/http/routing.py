"""The router of every resource, which checks the key first, then the query parameters, then the body."""

import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping, Set
from contextlib import AbstractAsyncContextManager
from functools import cached_property, partial
from typing import Any, get_origin

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
from api.http.problems import JSON_BODY, OPEN_INFERENCE, document_errors, list_own_errors
from api.http.request_id import HAS_VALID_KEY
from heldout.access.rights import SAFE_METHODS, NeededScope, get_method_scope
from heldout.errors import HeldoutError, InvalidParameter
from heldout.spec.field_errors import ask_whether_meant, make_values_refusal, suggest_names


def make_router(
    prefix: str,
    tag: str,
    *,
    needs_key: bool = True,
    scope: NeededScope | None = None,
    has_secrets: bool = False,
    is_predicting: bool = False,
) -> APIRouter:
    """Make a router whose routes need a key, accept only documented query parameters, and read JSON strictly.

    Args:
        scope: the scope that the key needs. `any` accepts every key; None means `read` for requests that read, and
            `write` for the others.
        has_secrets: whether browsers and proxies must not store the answers.
        is_predicting: whether the routes answer predictions. They are called so often that a valid key is cached for a
            second. Their memory is bounded, and their requests are counted, where they are answered.
    """
    kind = {"needs_key": needs_key, "scope": scope, "is_predicting": is_predicting}
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        route_class=type("ResourceRoute", (ResourceRoute,), kind),
        dependencies=[Depends(_forbid_storing)] if has_secrets else [],
    )


class ResourceRoute(APIRoute):
    """A route that checks the key before the rest of the request, and commits at the end of its endpoint.

    The same commit writes the request's change into the activity log.
    """

    needs_key = True
    scope: NeededScope | None = None
    is_predicting = False

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        if self.needs_key:
            options["openapi_extra"] = {"security": [{"key": []}], **(options.get("openapi_extra") or {})}
        super().__init__(path, wrap_in_context(endpoint), **options)
        dependencies = {dependency.call for dependency in _iterate_dependencies(self.dependant)}
        own = (*list_own_errors(self.dependant), *(JSON_BODY if self.body_field else ()))
        self.responses = {**self.responses, **document_errors(*own)}
        self._looks_key_up_itself = get_unchecked_key in dependencies
        self._sends_much = sends_much in dependencies
        if inspect.iscoroutinefunction(endpoint) and dependencies & NEEDS_A_THREAD:
            raise TypeError(f"{endpoint.__name__} is async and takes a session; use `AppContext.database` in a thread.")
        if get_unchecked_key in dependencies and require_valid_caller in dependencies:
            raise TypeError(f"{endpoint.__name__} looks up the key itself; it cannot take the caller too.")
        if self._embed_body_fields:
            raise TypeError(f"{endpoint.__name__} has several body parameters; the body must be one model.")

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
                    await require_valid_key(request, context, may_be_cached=self.is_predicting)
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
                    # Without a valid key, the answer says so and does not reveal any other error.
                    if self._looks_key_up_itself and not context.endpoint_called:
                        await require_valid_key(request, context)
                    if isinstance(error, HeldoutError):
                        error.headers |= counted or await self._count_request(request, key)
                    raise
                response.headers.update(counted or await self._count_request(request, key))
                return PlacedResponse(response, held.pop_all())

        return handle_key_first

    def _receive_body(self, context: RequestContext, request: Request) -> AbstractAsyncContextManager[bytes]:
        """Receive the JSON body. Without a key, it must be small."""
        limit_bytes, owner = context.app.settings.max_body_bytes, ""
        if self.needs_key:
            owner = context.caller.owner
        else:
            limit_bytes = min(limit_bytes, MAX_OPEN_BODY_BYTES)
        return context.app.large_bodies.received(request, limit_bytes, owner)

    async def _count_request(self, request: Request, key: str) -> Mapping[str, str]:
        """Count the request and return the rate limit's headers. Does nothing if the key is not known to be valid.

        Invalid keys are not counted: each of them would stay in memory for the length of the rate's window.
        """
        app: AppContext = request.app.state.context
        if HAS_VALID_KEY not in request.scope["state"] or (self.is_predicting and not app.predictions.is_here):
            return {}
        return await app.rates.count(key)

    def _change(self, request: Request, scope: NeededScope) -> NotedChange | None:
        """Return the request's entry for the activity log. None if it changes nothing."""
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
        """Raise InvalidParameter for query parameters that are unknown or wrongly repeated, and for NUL."""
        # The Open Inference Protocol allows any parameters.
        if not request.scope["query_string"] or self.path.startswith(OPEN_INFERENCE):
            return
        known, keyed, lists = self._query_parameters
        seen: set[str] = set()
        for name, value in request.query_params.multi_items():
            keyed_name = name.partition("[")[0] if name.endswith("]") else None
            if name not in known and keyed_name not in keyed:
                takes = ", ".join(sorted(known | {f"{prefix}[…]" for prefix in keyed})) or "none"
                meant = ask_whether_meant(suggest_names(name[:64], known))
                raise InvalidParameter(
                    f"There is no query parameter {name[:64]!r} here.{meant} This route accepts: {takes}."
                )
            if "\0" in name or "\0" in value:
                raise InvalidParameter(f"`{name[:64]}` must not contain NUL.")
            if name in seen and name not in lists:
                raise InvalidParameter(f"`{name[:64]}` occurs twice and takes one value. Send it once.")
            seen.add(name)

    @cached_property
    def _query_parameters(self) -> tuple[Set[str], Set[str], Set[str]]:
        """The names of the query parameters, of those written as `name[key]=value`, and of those that are lists."""
        fields = [field for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)]
        extra = (self.openapi_extra or {}).get("parameters", [])
        keyed = {parameter["name"] for parameter in extra if parameter.get("style") == "deepObject"}
        lists = {field.alias for field in fields if get_origin(field.field_info.annotation) is list}
        return {field.alias for field in fields}, keyed, lists


async def _forbid_storing(response: Response) -> None:
    response.headers["Cache-Control"] = "no-store"


def _iterate_dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for dependency in dependant.dependencies:
        yield dependency
        yield from _iterate_dependencies(dependency)
