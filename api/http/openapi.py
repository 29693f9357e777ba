"""The OpenAPI document: what the framework writes by itself, less what is not so here."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from heldout.datasets import DatasetSpec
from heldout.spec import JobSpec
from heldout.views.problem import Problem

REF = "#/components/schemas/{model}"


def install(app: FastAPI) -> None:
    """Let the app describe itself by `document`."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def document(app: FastAPI) -> dict[str, Any]:
    """The document, with our problems in place of the framework's own errors."""
    made = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    schemas = made["components"]["schemas"]
    # What no endpoint has as a parameter of its own.
    _, ours = models_json_schema([(Problem, "serialization"), (DatasetSpec, "validation")], ref_template=REF)
    schemas.update(ours["$defs"])
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operation in _operations(made):
        _without_framework_errors(operation)
    for spec in (JobSpec, DatasetSpec):
        for name in (spec.__name__, *spec.model_json_schema()["$defs"]):
            _optional_may_be_null(schemas[name])
    return made


def _operations(made: dict[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in made["paths"].values() for operation in path.values()]


def _without_framework_errors(operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    refused = responses.get("422", {}).get("content", {})
    if "application/json" in refused:
        del responses["422"]


def _optional_may_be_null(schema: dict[str, Any]) -> None:
    """Parts of a spec read null as absent."""
    for name, field in schema.get("properties", {}).items():
        if name in schema.get("required", ()) or {"type": "null"} in field.get("anyOf", ()):
            continue
        notes = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
        schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **notes}
