"""Writes the reference of routes from the service's own OpenAPI document."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.app import create_app
from heldout.service.settings import make_embedded_settings
from scripts.guides import link_guides
from scripts.markdown import table

# Bodies that have a page of their own.
PAGES = {"JobSpec": "a [job's spec](spec.md)"}
# Parts of paths that the head of the page explains.
PATH_PARAMETERS = {"job_id", "study_id", "dataset", "model_id", "evaluation_id", "webhook_id"}


def write_routes() -> str:
    with tempfile.TemporaryDirectory() as home:
        document = create_app(make_embedded_settings(Path(home))).openapi()
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {"jobs": []}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    with_key = [
        set(_codes(operation)) for routes in by_tag.values() for _, path, operation in routes if path.startswith("/v1")
    ]
    common = set.intersection(*with_key)
    named = ", ".join(code for code in _codes(by_tag["jobs"][0][2]) if code in common)
    parts = [
        f"Every route under `/v1` can answer with these [problems](problems.md): {named}. Others are named below.\n"
    ]
    for tag, routes in by_tag.items():
        summaries = (
            (f"[`{method} {path}`](#{_anchor(method, path)})", _first(operation)) for method, path, operation in routes
        )
        parts += [f"\n## {tag.capitalize()}\n\n", table(("route", "does"), summaries)]
        parts += [_route(document, *route, common) for route in routes]
    return "".join(parts)


def _anchor(method: str, path: str) -> str:
    return f"{method} {path}".lower().replace(" ", "-").translate(str.maketrans("", "", "/{}"))


def _first(operation: dict[str, Any]) -> str:
    """Return the first paragraph of its description in one line."""
    return " ".join(operation.get("description", "").split("\n\n")[0].split())


def _route(document: dict[str, Any], method: str, path: str, operation: dict[str, Any], common: set[str]) -> str:
    text = f"\n### `{method} {path}`\n\n{operation.get('description', '').strip()}\n{link_guides(f'{method} {path}')}"
    parameters = [
        parameter
        for parameter in (_resolve(document, reference) for reference in operation.get("parameters", []))
        if parameter["in"] != "path" or parameter["name"] not in PATH_PARAMETERS
    ]
    if parameters:
        rows = (
            (f"`{parameter['name']}`", parameter["in"], _kind(document, parameter), parameter.get("description", ""))
            for parameter in parameters
        )
        text += "\n" + table(("parameter", "in", "takes", "meaning"), rows)
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        text += _body(document, media_type, content.get("schema", {}))
    answers = sorted(
        f"{status}{_describe(answer)}." for status, answer in operation["responses"].items() if status < "400"
    )
    text += f"\nAnswers {answers[0]}\n" if len(answers) == 1 else "\nAnswers:\n\n- " + "\n- ".join(answers) + "\n"
    if codes := [code for code in _codes(operation) if code not in common]:
        text += f"\nProblems: {', '.join(codes)}.\n"
    return text


def _describe(answer: dict[str, Any]) -> str:
    description = answer.get("description", "").rstrip(".")
    return "" if description in ("", "Successful Response") else f": {description}"


def _body(document: dict[str, Any], media_type: str, schema: dict[str, Any]) -> str:
    resolved = _resolve(document, schema)
    page = PAGES.get(resolved.get("title", ""))
    rows = [] if page else list(_fields(document, resolved))
    text = f"\nBody: `{media_type}`" + (f", {page}.\n" if page else ", with\n" if rows else ".\n")
    return text + ("\n" + table(("field", "takes", "meaning"), rows) if rows else "")


def _fields(document: dict[str, Any], schema: dict[str, Any], before: str = "") -> Iterator[tuple[str, ...]]:
    """Yield each field of an object, and those of nested objects."""
    for name, field in schema.get("properties", {}).items():
        resolved = _resolve(document, field)
        if "properties" in resolved and resolved.get("title") not in PAGES:
            yield from _fields(document, resolved, f"{before}{name}.")
            continue
        required = name in schema.get("required", []) and not before
        kind = _kind(document, {"schema": field, "required": required, "in": "body"})
        yield f"`{before}{name}`", kind, " ".join(field.get("description", "").split())


def _codes(operation: dict[str, Any]) -> list[str]:
    found = []
    for _, answer in sorted(operation["responses"].items()):
        for content in answer.get("content", {}).values():
            found += content.get("schema", {}).get("properties", {}).get("code", {}).get("enum", [])
    return [f"`{code}`" for code in found]


def _resolve(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference to a part of the document."""
    found: Any = document
    for name in part.get("$ref", "#").split("/")[1:]:
        found = found[name]
    return found if "$ref" in part else part


def _kind(document: dict[str, Any], parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    options = schema.get("anyOf", schema.get("oneOf", [schema]))
    shown = " or ".join(dict.fromkeys(filter(None, (_type(document, option) for option in options))))
    if schema.get("default") not in (None, [], {}, ""):
        shown += f"; {json.dumps(schema['default'])} by default"
    return shown + ("; required" if parameter.get("required") and parameter["in"] != "path" else "")


def _type(document: dict[str, Any], schema: dict[str, Any]) -> str:
    resolved = _resolve(document, schema)
    if page := PAGES.get(resolved.get("title", "")):
        return page
    schema = {**resolved, **{name: part for name, part in schema.items() if name != "$ref"}}
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if "anyOf" in schema:
        return _kind(document, {"schema": {"anyOf": schema["anyOf"]}})
    kind = schema.get("type", "")
    if kind == "array":
        items = _type(document, schema.get("items", {}))
        return f"list of {items}" if items else "list"
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = (
        f" {least:.10g}–{most:.10g}"
        if least is not None and most is not None
        else f" from {least:.10g}"
        if least is not None
        else ""
    )
    return "" if kind == "null" else f"{kind}{bounds}"
