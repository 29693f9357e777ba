"""The OpenAPI document: what the framework writes, adapted so that clients can be generated from it."""

from threading import Lock
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.responses import JSONResponse, Response

from api.http.forms import DOCUMENT
from heldout.access.webhooks import WEBHOOK_EVENTS
from heldout.documents.blocks import Document
from heldout.spec.dataset import DatasetSpec
from heldout.spec.job import JobSpec
from heldout.views.account import WebhookMessage
from heldout.views.base import Problem

REF = "#/components/schemas/{model}"
SERVERS = [
    {"url": "/", "description": "The service that served this document."},
    {"url": "http://127.0.0.1:8000", "description": "`heldout up` or `docker compose up` on this machine."},
]
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key, `ho_<id>_<secret>`. `heldout keys create --owner NAME` prints a new one.",
}
REQUEST_ID = {
    "name": "X-Request-ID",
    "in": "header",
    "description": "Your own id for the request: at most 128 letters, digits and `._:/+=-`. The response and the "
    "service's log include it. Without one, the service generates an id.",
    "schema": {"type": "string"},
}
# The headers of Standard Webhooks.
WEBHOOK_HEADERS = {
    "webhook-id": "The delivery's id, the same for every attempt. Ignore messages whose id you have seen.",
    "webhook-timestamp": "Time of this attempt, in seconds since 1970.",
    "webhook-signature": "`v1,` followed by the signature with the webhook's secret. Several are separated by spaces.",
}


def install(app: FastAPI) -> None:
    """Serve the app's document at /openapi.json, built and encoded once."""
    making = Lock()
    encoded: list[bytes] = []

    def openapi() -> dict[str, Any]:
        with making:  # building is slow: concurrent threads must share one document
            if app.openapi_schema is None:
                app.openapi_schema = build_document(app)
                encoded.append(bytes(JSONResponse(app.openapi_schema).body))
            return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]

    # Clients that ask during the build wait for it without occupying more threads.
    one_thread = CapacityLimiter(1)

    @app.get("/openapi.json", include_in_schema=False)
    async def served() -> Response:
        if not encoded:
            await to_thread.run_sync(openapi, limiter=one_thread)
        return Response(encoded[0], media_type="application/json")


def build_document(app: FastAPI) -> dict[str, Any]:
    """Build the document of the app's routes and of the messages that it posts to webhooks."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        servers=SERVERS,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = made["components"]["schemas"]
    # No endpoint takes or returns these directly.
    others = models_json_schema(
        [(Problem, "serialization"), (WebhookMessage, "serialization"), (DatasetSpec, "validation")], ref_template=REF
    )[1]["$defs"]
    blocks = DOCUMENT.json_schema(mode="serialization", ref_template=REF)
    others |= {**blocks.pop("$defs"), Document.__name__: blocks}
    schemas.update({name: schema for name, schema in others.items() if name not in schemas})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in made["paths"].values():
        for operation in path.values():
            # The framework's own 422 has a media type of its own: this API answers with a problem instead.
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    made["components"]["securitySchemes"] = {"key": KEY}
    made["components"]["parameters"] = {"RequestId": REQUEST_ID}
    for spec in (JobSpec, DatasetSpec):
        for name in (spec.__name__, *spec.model_json_schema()["$defs"]):
            _let_optional_be_null(schemas[name])
    made["webhooks"] = {event: {"post": _describe_webhook(event)} for event in WEBHOOK_EVENTS}
    return made


def _let_optional_be_null(schema: dict[str, Any]) -> None:
    """Allow null for optional parts of a spec; it means absent.

    Also removes defaults that are objects or lists: generators reject them, and an object's fields have their own.
    """
    for name, field in schema.get("properties", {}).items():
        if isinstance(field.get("default"), dict | list):
            del field["default"]
        if name in schema.get("required", ()) or {"type": "null"} in field.get("anyOf", ()):
            continue
        notes = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
        schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **notes}


def _describe_webhook(event: str) -> dict[str, Any]:
    """Describe the message that is posted to webhooks for this event."""
    return {
        "operationId": f"on_{event.replace('.', '_')}",
        "summary": f"{event} has happened",
        "description": "Sent to each webhook that subscribed to this event. Answer with any 2xx within 15 seconds. "
        "Otherwise the message is sent again, for up to 28 hours. A 410 disables the webhook.",
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
