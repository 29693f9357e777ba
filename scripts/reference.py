"""Writes what is said of the code elsewhere (`make reference`); `scripts/reference.py check` says what is out of date.

Two pages of the reference and docker-compose.yml keep their own words around what is written here; the other pages and
`.env.example` are written whole.
"""

import inspect
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Union, get_args, get_origin

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from typer.core import TyperGroup
from typer.main import get_command

from api.__main__ import commands as server_commands
from api.app import create_app
from heldout import errors
from heldout.access.event_types import EVENT_TYPES
from heldout.access.webhooks import WEBHOOK_EVENTS
from heldout.cli import host_commands
from heldout.cli.app import app as client_commands
from heldout.service.settings import PREFIX, Settings, make_embedded_settings
from scripts.compose import COMPOSE, list_settings, write_env_example
from scripts.labels import write_labels

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
WRITTEN = "<!-- `make reference` writes this page from the code. -->\n"
BEGIN = re.compile(r" *(<!--|#) `make reference` writes .*\n")
END = re.compile(r" *(<!--|#) end( -->)?\n")
# Raised inside the service or on a terminal, never answered to a request.
NOT_ANSWERED = {"lease_lost", "operator"}


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table in Markdown; bars within its cells are escaped."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


# --- settings and problems -----------------------------------------------------------------------


def settings_table() -> str:
    return table(("setting", "default", "meaning"), _settings())


def _settings() -> Iterator[tuple[str, ...]]:
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        names = [str(choice) for choice in alias.choices] if hasattr(alias, "choices") else [PREFIX + name.upper()]
        default = field.default
        shown = "" if default is None else f"`{json.dumps(default) if isinstance(default, tuple) else default}`"
        yield ", ".join(f"`{variable}`" for variable in names), shown, field.description or ""


def kinds_of_errors(kind: type[errors.HeldoutError] = errors.HeldoutError) -> Iterator[type[errors.HeldoutError]]:
    """Every kind of error that a request can be answered with."""
    for below in kind.__subclasses__():
        if below.__module__.startswith(f"{errors.__name__}.") and below.code not in NOT_ANSWERED:
            yield below
        yield from kinds_of_errors(below)


def problems_table() -> str:
    by_code: dict[str, list[type[errors.HeldoutError]]] = {}
    for kind in sorted(set(kinds_of_errors()), key=lambda kind: (kind.status, kind.code, kind.__name__)):
        by_code.setdefault(kind.code, []).append(kind)
    return table(("code", "status", "when"), (_problem(code, kinds) for code, kinds in by_code.items()))


def _problem(code: str, kinds: list[type[errors.HeldoutError]]) -> tuple[str, ...]:
    several = len({kind.status for kind in kinds}) > 1
    said = [f"{kind.status}: {_words(kind)}" if several else _words(kind) for kind in kinds]
    return (
        f"`{code}`",
        ", ".join(str(status_code) for status_code in sorted({kind.status for kind in kinds})),
        " ".join(said),
    )


def _words(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


# --- routes --------------------------------------------------------------------------------------


def routes_page() -> str:
    with tempfile.TemporaryDirectory() as home:
        document = create_app(make_embedded_settings(Path(home))).openapi()
    parts = [
        "# Every route in full\n\n",
        WRITTEN,
        "\nParameters and answers, from the service's own OpenAPI document. [Routes](routes.md) says in a line each "
        "what they are for, [problems](problems.md) what each code means.\n",
    ]
    by_tag: dict[str, list[str]] = {"jobs": []}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag.setdefault(operation["tags"][0], []).append(_route(document, method.upper(), path, operation))
    for tag, routes in by_tag.items():
        parts += [f"\n## {tag.capitalize()}\n", *routes]
    return "".join(parts)


def _route(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    text = f"\n### `{method} {path}`\n\n{operation.get('description', '').strip()}\n"
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        text += "\nBody: " + ", ".join(f"`{media_type}`" for media_type in body) + ".\n"
    parameters = [_resolved(document, parameter) for parameter in operation.get("parameters", [])]
    if parameters:
        rows = (
            (f"`{parameter['name']}`", parameter["in"], _kind(document, parameter), parameter.get("description", ""))
            for parameter in parameters
        )
        text += "\n" + table(("parameter", "in", "takes", "meaning"), rows)
    answers = ", ".join(sorted(status for status in operation["responses"] if status < "400"))
    text += f"\nAnswers {answers}. Problems: {', '.join(_codes(operation))}.\n"
    return text


def _codes(operation: dict[str, Any]) -> list[str]:
    found = []
    for _, answer in sorted(operation["responses"].items()):
        for content in answer.get("content", {}).values():
            found += content.get("schema", {}).get("properties", {}).get("code", {}).get("enum", [])
    return [f"`{code}`" for code in found]


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """The part itself where it is a reference to one."""
    found: Any = document
    for name in part.get("$ref", "#").split("/")[1:]:
        found = found[name]
    return found if "$ref" in part else part


def _kind(document: dict[str, Any], parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    shown = " or ".join(
        dict.fromkeys(filter(None, (_type(document, option) for option in schema.get("anyOf", [schema]))))
    )
    if schema.get("default") not in (None, []):
        shown += f"; {json.dumps(schema['default'])} by default"
    return shown + ("; required" if parameter.get("required") and parameter["in"] != "path" else "")


def _type(document: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = {**_resolved(document, schema), **{name: part for name, part in schema.items() if name != "$ref"}}
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    kind = schema.get("type", "")
    if kind == "array":
        return _type(document, schema["items"])
    least, most = schema.get("minimum"), schema.get("maximum")
    bounds = (
        f" {least}–{most}" if least is not None and most is not None else f" from {least}" if least is not None else ""
    )
    return "" if kind == "null" else f"{kind}{bounds}"


# --- commands ------------------------------------------------------------------------------------


def commands_page() -> str:
    parts = [
        "# Every command in full\n\n",
        WRITTEN,
        "\nWhat `heldout COMMAND --help` prints. [Commands](commands.md) says in a line each what they are for.\n",
    ]
    ours = [
        described
        for described in _commands(get_command(client_commands), "heldout")
        if described[0].split()[1] not in host_commands.COMMANDS
    ]
    servers = [
        described for described in _commands(get_command(server_commands), "heldout") if described[0] != "heldout serve"
    ]
    for words, command in ours + servers:
        parts.append(f"\n## `{words}`\n\n{(command.help or '').strip()}\n")
        rows = [
            _option(parameter)
            for parameter in command.params
            if parameter.name != "help" and not getattr(parameter, "hidden", False)
        ]
        if rows:
            parts.append("\n" + table(("argument or option", "takes", "default", "meaning"), rows))
    return "".join(parts)


def _commands(group: Any, *before: str) -> Iterator[tuple[str, Any]]:
    """Each command that does something: its words, and itself."""
    for name, part in group.commands.items():
        if not isinstance(part, TyperGroup) or part.invoke_without_command:
            yield " ".join((*before, name)), part
        if isinstance(part, TyperGroup):
            yield from _commands(part, *before, name)


def _option(parameter: Any) -> tuple[str, ...]:
    is_argument = parameter.param_type_name == "argument"
    names = [parameter.name.upper()] if is_argument else [*parameter.opts, *parameter.secondary_opts]
    kind = "" if getattr(parameter, "is_flag", False) else parameter.metavar or _annotated(parameter)
    default = parameter.default
    is_said = isinstance(default, (str, int, float, Path)) and default is not False and default != ""
    return (
        ", ".join(f"`{name}`" for name in names),
        f"{kind}, repeatable" if getattr(parameter, "multiple", False) else kind,
        "required" if parameter.required else f"`{default}`" if is_said else "",
        " ".join((getattr(parameter, "help", "") or "").split()),
    )


def _annotated(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    while get_origin(annotation) in (list, tuple, Union, UnionType):
        annotation = get_args(annotation)[0]
    choices = get_args(annotation) or (tuple(annotation) if issubclass(annotation, Enum) else ())
    return ", ".join(f"`{choice}`" for choice in choices) or getattr(annotation, "__name__", str(annotation)).lower()


# --- metrics and events --------------------------------------------------------------------------


def metrics_page() -> str:
    from predict import metrics as of_predict
    from worker.supervision import metrics as of_workers

    with tempfile.TemporaryDirectory() as home:
        of_api: CollectorRegistry = create_app(make_embedded_settings(Path(home))).state.metrics
        api = table(("metric", "kind", "labels", "meaning"), _metrics(of_api.collect()))
    worker, predict = (_own_metrics(module) for module in (of_workers, of_predict))
    return (
        f"# Metrics\n\n{WRITTEN}\n"
        "Prometheus metrics; counters end in `_total`, histograms in `_bucket`, `_sum` and `_count`.\n\n"
        "## Of an API process\n\n"
        "At `/metrics`, or at the port that `HELDOUT_API_METRICS_PORT` names. Jobs are counted in the database, so "
        f"every process says the same of them.\n\n{api}\n"
        f"## Of a worker\n\nAt the port that `HELDOUT_METRICS_PORT` names; without it nowhere.\n\n{worker}\n"
        "## Of processes for predictions\n\nAt `/metrics` of their own port. Those that share a port "
        "(`HELDOUT_PREDICT_PROCESSES`) answer for all of them together, and leave out `process_…` and "
        f"`python_…`.\n\n{predict}"
    )


def _own_metrics(module: ModuleType) -> str:
    """Those that a module makes, and those of any process in Python."""
    own = [
        family
        for metric in vars(module).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.collect()
    ]
    of_any = [family for family in REGISTRY.collect() if not family.name.startswith("heldout_")]
    return table(("metric", "kind", "labels", "meaning"), _metrics(own + of_any))


# What a metric that has not been observed yet does not say of itself.
LABELS = {
    "heldout_jobs": "kind, status",
    "heldout_queue_depth": "device",
    "heldout_queue_oldest_seconds": "device",
    "heldout_attempts": "status",
    "heldout_failures": "code",
    "heldout_predict_requests": "status",
    "http_requests": "method, status, handler",
    "http_request_size_bytes": "handler",
    "http_response_size_bytes": "handler",
    "http_request_duration_seconds": "method, handler",
}


def _metrics(families: Iterable[Any]) -> list[tuple[str, ...]]:
    found = {}
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (f"`{name}`", family.type, LABELS.get(family.name, ""), " ".join(family.documentation.split()))
    return [found[name] for name in sorted(found)]


def events_page() -> str:
    rows = ((f"`{name}`", "yes" if name in WEBHOOK_EVENTS else "", told) for name, told in EVENT_TYPES.items())
    return (
        f"# Types of events\n\n{WRITTEN}\n"
        "Lists and streams of events have all types ([how to follow them](../how-to/streams.md)), "
        "[webhooks](../how-to/webhooks.md) those that they ask for.\n\n" + table(("type", "for webhooks", "when"), rows)
    )


# --- writing -------------------------------------------------------------------------------------


def with_table(page: str, written: str) -> str:
    """The page with what is written between its marks, or from its mark to its end."""
    begin = BEGIN.search(page)
    assert begin is not None, "the page has no mark"
    end = END.search(page, begin.end())
    space = "\n" if begin[1] == "<!--" else ""
    return f"{page[: begin.end()]}{space}{written}" + (f"{space}{page[end.start() :]}" if end else "")


PARTS: dict[Path, Callable[[], str]] = {
    REFERENCE / "settings.md": settings_table,
    REFERENCE / "problems.md": problems_table,
    COMPOSE: list_settings,
}
WHOLE: dict[Path, Callable[[], str]] = {
    REFERENCE / "http-api.md": routes_page,
    REFERENCE / "options.md": commands_page,
    REFERENCE / "metrics.md": metrics_page,
    REFERENCE / "events.md": events_page,
    ROOT / ".env.example": write_env_example,
    ROOT / "web/src/words/labels.ts": write_labels,
}


def written() -> dict[Path, str]:
    """Every file that is made here, as it should be."""
    parts = {path: with_table(path.read_text("utf-8"), make()) for path, make in PARTS.items()}
    return parts | {path: make() for path, make in WHOLE.items()}


def outdated() -> list[str]:
    """The files that the code has left behind."""
    return [path.name for path, text in written().items() if not path.exists() or path.read_text("utf-8") != text]


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        if found := outdated():
            sys.exit(f"out of date: {', '.join(found)}: run `make reference`")
    else:
        for path, text in written().items():
            path.write_text(text, encoding="utf-8")
