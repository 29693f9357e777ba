"""Answers errors as `application/problem+json`, and documents them in OpenAPI."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match

from api.disconnects import STATUS_OF_LEFT
from heldout import errors
from heldout.spec.field_errors import describe_parameter_errors, make_values_refusal
from heldout.views.base import ChoiceView, FieldErrorView, Problem, RequestView

MEDIA_TYPE = "application/problem+json"
OPEN_INFERENCE = "/v2"
# Errors of every route that takes JSON, and of every route that takes a spec.
JSON_BODY = (
    errors.InvalidJson,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
    errors.InvalidSpec,
    errors.TooManyUploads,
)
REFUSED_SPEC = (
    errors.SpecDatasetNotFound,
    errors.DatasetUnavailable,
    errors.CopiesNotKnown,
    errors.DatasetLost,
    errors.NeedsMoreMemory,
    errors.NetworkTooDeep,
    errors.ModelDoesNotFit,
    errors.ModelUnavailable,
    errors.NotSupported,
    errors.SpecModelNotFound,
    errors.StorageUnavailable,
    errors.TooManyParameters,
)
# Errors of every route that uses up a quota.
NO_ROOM = (errors.QuotaExceeded, errors.OwnerSuspended)
# Errors of every route that needs the export of a model, apart from those of its job or study.
EXPORT_PROBLEMS = (
    errors.ModelLost,
    errors.ExportLost,
    errors.DatasetNotFound,
    errors.ExportNotReady,
    errors.ExportDiffers,
    errors.ExportFailed,
    errors.ExportNotSupported,
    errors.StorageUnavailable,
    *NO_ROOM,
)
# Errors of every route that takes a file.
UPLOADED = (errors.InvalidForm, errors.StorageUnavailable, errors.TooManyUploads, errors.UploadTooSlow)
Function = TypeVar("Function", bound=Callable[..., Any])
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def make_problem_response(error: errors.HeldoutError, path: str) -> JSONResponse:
    """Encode the error in the format of the protocol that the path belongs to."""
    if path == OPEN_INFERENCE or path.startswith(f"{OPEN_INFERENCE}/"):
        return JSONResponse({"error": error.detail}, _open_inference_status(error), headers=error.headers)
    problem = Problem(
        type=f"urn:heldout:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        instance=path,
        errors=[FieldErrorView(pointer=field_error.pointer, detail=field_error.detail) for field_error in error.errors],
        request=None if error.request is None else RequestView(**error.request),
        choices=[ChoiceView.model_validate(choice) for choice in error.choices],
    )
    content = problem.model_dump(exclude={name for name in ("request", "choices") if not getattr(problem, name)})
    return JSONResponse(content, error.status, headers=error.headers, media_type=MEDIA_TYPE)


def _open_inference_status(error: errors.HeldoutError) -> int:
    """Choose 400 for faulty content and 503 while a model is not ready yet."""
    if isinstance(
        error,
        errors.InvalidJson | errors.InvalidSpec | errors.InvalidTensor | errors.ImageRefused | errors.TooManyImages,
    ):
        return 400
    return 503 if isinstance(error, errors.NotReady | errors.ExportNotReady) else error.status


class raises:  # noqa: N801 - a decorator
    """Notes which errors an endpoint, a dependency or a parameter can answer with, for OpenAPI."""

    def __init__(self, *own: type[errors.HeldoutError]) -> None:
        self.own_errors = own

    def __call__(self, function: Function) -> Function:
        function.__dict__["own_errors"] = self.own_errors
        return function


def list_own_errors(dependant: Dependant) -> Iterator[type[errors.HeldoutError]]:
    """List the errors that `raises` has noted of an endpoint, its parameters and everything that it depends on."""
    parameters = (item for field in dependant.path_params for item in field.field_info.metadata)
    for item in parameters:
        yield from getattr(getattr(item, "func", item), "own_errors", ())
    for dependency in dependant.dependencies:
        yield from list_own_errors(dependency)
    yield from getattr(dependant.call, "own_errors", ())


def document_errors(*own: type[errors.HeldoutError], open_to_all: bool = False) -> dict[int | str, dict[str, Any]]:
    """Build the `responses=` of a route from its own errors and the errors of every route."""
    anywhere: tuple[type[errors.HeldoutError], ...] = (errors.Internal,)
    if not open_to_all:
        anywhere += (errors.InvalidParameter, errors.Unauthenticated, errors.CrossSiteRequest, errors.InsufficientScope)
        anywhere += (errors.TooManyRequests, errors.TooManyDownloads, errors.DatabaseUnavailable)
    if errors.StorageUnavailable in own:  # a route that reads stored files may find a damaged one
        anywhere += (errors.DatasetDamaged, errors.ArtifactDamaged, errors.ArtifactLost)
    by_status: dict[int, dict[str, type[errors.HeldoutError]]] = {}
    for error in (*own, *anywhere):
        by_status.setdefault(error.status, {})[error.code] = error
    return {status: _document_each(list(same.values())) for status, same in sorted(by_status.items())}


def _document_each(kinds: list[type[errors.HeldoutError]]) -> dict[str, Any]:
    # JSON Schema allows `properties` next to `$ref`. This way, generated clients have one class for all problems.
    schema = {
        "$ref": "#/components/schemas/Problem",
        "properties": {"code": {"enum": [kind.code for kind in kinds]}},
    }
    return {
        "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def install(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Answer every failure of this app and of the included routers with a problem."""
    documented = _list_documented_methods([*app.routes, *(route for router in routers for route in router.routes)])

    @app.exception_handler(errors.HeldoutError)
    async def expected(request: Request, error: errors.HeldoutError) -> Response:
        return make_problem_response(error, request.scope["path"])

    @app.exception_handler(ClientDisconnect)
    async def unheard(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=STATUS_OF_LEFT)

    @app.exception_handler(RequestValidationError)
    async def refused(request: Request, error: RequestValidationError) -> Response:
        return make_problem_response(_make_refusal(request, error), request.scope["path"])

    @app.exception_handler(HTTPException)
    async def unrouted(request: Request, error: HTTPException) -> Response:
        return make_problem_response(_make_unrouted_problem(request, error, documented), request.scope["path"])


def _make_refusal(request: Request, error: RequestValidationError) -> errors.HeldoutError:
    found = error.errors()
    if parameters := [finding for finding in found if finding["loc"][0] != "body"]:
        return errors.InvalidParameter(describe_parameter_errors(parameters))
    located = [{**finding, "loc": finding["loc"][1:]} for finding in found]
    refusal: errors.HeldoutError | None = getattr(request.state, "body_refusal", None)  # set by JsonRequest
    return refusal or make_values_refusal(located, error.body)


def _make_unrouted_problem(
    request: Request, error: HTTPException, documented: Mapping[str, Collection[str]]
) -> errors.HeldoutError:
    if error.status_code == 404:
        return errors.RouteNotFound(request.scope["path"])
    if error.status_code == 405:
        allowed = ", ".join(_list_allowed_methods(request, documented))
        received = f"{request.method[:20]} {request.scope['path'][:200]}"
        return errors.MethodNotAllowed(
            f"Received {received}. This address accepts {allowed}.", headers={"Allow": allowed}
        )
    # FastAPI raises 400 when the client disconnects in the middle of its body.
    return errors.InvalidJson("The body ended early.")


def _list_allowed_methods(request: Request, documented: Mapping[str, Collection[str]]) -> list[str]:
    """List the methods of all routes at this path. Starlette's 405 knows those of one route only."""
    # `/v1/jobs/cancel` also matches `/v1/jobs/{job_id}`, but is not a job.
    itself = documented.get(request.scope["path"], ())
    return [method for method in METHODS if method in itself] or [
        method
        for method in METHODS
        if any(
            route.matches({**request.scope, "method": method})[0] is Match.FULL for route in request.app.router.routes
        )
    ]


def _list_documented_methods(routes: Iterable[BaseRoute]) -> dict[str, set[str]]:
    """List the methods of each path."""
    found: dict[str, set[str]] = defaultdict(set)
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            found[route.path] |= route.methods or set()
    return dict(found)
