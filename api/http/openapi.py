"""The OpenAPI document: what the framework writes, adapted so that clients can be generated from it."""

from threading import Lock
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.responses import JSONResponse, Response

from heldout.access.webhooks import WEBHOOK_EVENTS
from heldout.spec.dataset import DatasetSpec
from heldout.spec.job import JobSpec
from heldout.views.problem import Problem
from heldout.views.webhook import WebhookMessage

REF = "#/components/schemas/{model}"
SERVERS = [
    {"url": "/", "description": "The service that served this document."},
    {"url": "http://127.0.0.1:8000", "description": "`heldout up` or `docker compose up` on this machine."},
]
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key `ho_<id>_<secret>`, as `heldout keys create --owner NAME` prints it.",
}
REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Your own id of the request, of at most 128 letters, digits and `._:/+=-`; it is on the answer and "
    "in the service's log. One is drawn where there is none.",
    "schema": {"type": "string"},
}
# The headers of Standard Webhooks.
WEBHOOK_HEADERS = {
    "webhook-id": "The delivery's id, the same at every attempt: ignore a message whose id you have seen.",
    "webhook-timestamp": "Seconds since 1970 at this attempt.",
    "webhook-signature": "`v1,` and the signature by the webhook's secret; several are separated by spaces.",
}


def install(app: FastAPI) -> None:
    """Let the app describe itself by `document`, which it serves at /openapi.json, made and encoded once."""

    making = Lock()
    encoded: list[bytes] = []

    def openapi() -> dict[str, Any]:
        with making:  # it takes long: threads that ask at once must not each make their own
            if app.openapi_schema is None:
                app.openapi_schema = build_document(app)
                encoded.append(bytes(JSONResponse(app.openapi_schema).body))
            return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    # Clients that ask while it is made wait for it, and take no thread from others.
    one_thread = CapacityLimiter(1)

    @app.get("/openapi.json", include_in_schema=False)
    async def served() -> Response:
        if not encoded:
            await to_thread.run_sync(openapi, limiter=one_thread)
        return Response(encoded[0], media_type="application/json")


def get_operation_id(route: APIRoute) -> str:
    """Short names, which generated clients use: that of the function."""
    return route.name


def build_document(app: FastAPI) -> dict[str, Any]:
    """The document of the app's routes and of what it posts to webhooks."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        servers=SERVERS,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = made["components"]["schemas"]
    # No endpoint has these as a parameter or an answer of its own.
    others = models_json_schema(
        [(Problem, "serialization"), (WebhookMessage, "serialization"), (DatasetSpec, "validation")], ref_template=REF
    )[1]["$defs"]
    schemas.update({name: schema for name, schema in others.items() if name not in schemas})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in made["paths"].values():
        for operation in path.values():
            _drop_framework_errors(operation)
    made["components"]["securitySchemes"] = {"key": KEY}
    made["components"]["parameters"] = {"RequestId": REQUEST_ID}
    for spec in (JobSpec, DatasetSpec):
        for name in (spec.__name__, *spec.model_json_schema()["$defs"]):
            _let_optional_be_null(schemas[name])
    made["webhooks"] = {event: {"post": _describe_webhook(event)} for event in WEBHOOK_EVENTS}
    return made


def _drop_framework_errors(operation: dict[str, Any]) -> None:
    """The framework's own 422: this API answers with a problem instead."""
    responses = operation["responses"]
    refused = responses.get("422", {}).get("content", {})
    if "application/json" in refused:
        del responses["422"]


def _let_optional_be_null(schema: dict[str, Any]) -> None:
    """Let optional parts of a spec be null, which means absent.

    Defaults that are objects or lists go: generators refuse them, and the parts of an object have their own.
    """
    for name, field in schema.get("properties", {}).items():
        if isinstance(field.get("default"), dict | list):
            del field["default"]
        if name in schema.get("required", ()) or {"type": "null"} in field.get("anyOf", ()):
            continue
        notes = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
        schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **notes}


def _describe_webhook(event: str) -> dict[str, Any]:
    """What is posted to an owner's address when this happens."""
    return {
        "operationId": f"on_{event.replace('.', '_')}",
        "summary": f"{event} has happened",
        "description": "Sent to each webhook that asked for this event. Answer with any 2xx within some seconds; else "
        "it is sent again, for up to 28 hours. 410 disables the webhook.",
        "tags": ["webhooks"],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": about, "schema": {"type": "string"}}
            for name, about in WEBHOOK_HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": REF.format(model=WebhookMessage.__name__)}}},
        },
        "responses": {
            "2XX": {"description": "Received."},
            "410": {"description": "Send nothing more to this address."},
        },
        "security": [],
    }
