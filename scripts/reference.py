"""Write the files that describe the code (`make reference`); `scripts/reference.py check` lists outdated ones.

Four pages of the reference and docker-compose.yml keep their own text around the generated part; the other pages and
`.env.example` are generated entirely.
"""

import inspect
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from api.app import create_app
from heldout import errors
from heldout.access.webhooks import WEBHOOK_EVENTS
from heldout.service.settings import PREFIX, Settings, make_embedded_settings
from scripts.badges import list_badges
from scripts.client import write_client
from scripts.commands import write_commands
from scripts.compose import COMPOSE, list_settings, write_env_example
from scripts.events import EVENT_TYPES
from scripts.labels import write_labels
from scripts.markdown import table
from scripts.routes import write_routes

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
WRITTEN = "<!-- `make reference` writes this page from the code. -->\n"
BEGIN = re.compile(r" *(<!--|#) `make reference` writes .*\n")
END = re.compile(r" *(<!--|#) end( -->)?\n")
# Raised inside the service or on a terminal, never answered to a request.
NOT_ANSWERED = {"lease_lost", "operator"}


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
    """Return every kind of error with which a request can be answered."""
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
    messages = [f"{kind.status}: {_words(kind)}" if several else _words(kind) for kind in kinds]
    return (
        f"`{code}`",
        ", ".join(str(status_code) for status_code in sorted({kind.status for kind in kinds})),
        " ".join(messages),
    )


def _words(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split())


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
        "## Metrics of an API process\n\n"
        "They are at `/metrics` of the API's port, or only of the port that `HELDOUT_API_METRICS_PORT` names. Jobs are "
        f"counted in the database, so every process gives the same counts.\n\n{api}\n"
        "## Metrics of a worker\n\n"
        f"They are at the port that `HELDOUT_METRICS_PORT` names; without it they are not served.\n\n{worker}\n"
        "## Metrics of processes for predictions\n\nThey are at `/metrics` of their own port. Processes that share a "
        "port (`HELDOUT_PREDICT_PROCESSES`) answer for all of them together, and leave out `process_…` and "
        f"`python_…`.\n\n{predict}"
    )


def _own_metrics(module: ModuleType) -> str:
    """Return the metrics of a module, and those of every Python process."""
    own = [
        family
        for metric in vars(module).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.collect()
    ]
    of_any = [family for family in REGISTRY.collect() if not family.name.startswith("heldout_")]
    return table(("metric", "kind", "labels", "meaning"), _metrics(own + of_any))


# Label names of metrics that have not been observed yet.
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
    rows = ((f"`{name}`", "yes" if name in WEBHOOK_EVENTS else "", text) for name, text in EVENT_TYPES.items())
    return (
        f"# Types of events\n\n{WRITTEN}\n"
        "Lists and streams of events have all types ([how to follow them](../how-to/streams.md)); "
        "[webhooks](../how-to/webhooks.md) receive those that they ask for.\n\n"
        + table(("type", "for webhooks", "when"), rows)
    )


# --- writing -------------------------------------------------------------------------------------


def with_table(page: str, written: str) -> str:
    """Return the page with generated text between its marks, or from its mark to its end."""
    begin = BEGIN.search(page)
    assert begin is not None, "the page has no mark"
    end = END.search(page, begin.end())
    space = "\n" if begin[1] == "<!--" else ""
    return f"{page[: begin.end()]}{space}{written}" + (f"{space}{page[end.start() :]}" if end else "")


PARTS: dict[Path, Callable[[], str]] = {
    REFERENCE / "settings.md": settings_table,
    REFERENCE / "problems.md": problems_table,
    REFERENCE / "routes.md": write_routes,
    REFERENCE / "commands.md": write_commands,
    REFERENCE / "python.md": write_client,
    COMPOSE: list_settings,
}
WHOLE: dict[Path, Callable[[], str]] = {
    REFERENCE / "metrics.md": metrics_page,
    REFERENCE / "events.md": events_page,
    ROOT / ".env.example": write_env_example,
    ROOT / "web/src/words/labels.ts": write_labels,
    **list_badges(),
}


def written() -> dict[Path, str]:
    """Return every generated file with its current content."""
    parts = {path: with_table(path.read_text("utf-8"), make()) for path, make in PARTS.items()}
    return parts | {path: make() for path, make in WHOLE.items()}


def outdated() -> list[str]:
    """Return the files that are out of date."""
    return [path.name for path, text in written().items() if not path.exists() or path.read_text("utf-8") != text]


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        if found := outdated():
            sys.exit(f"out of date: {', '.join(found)}: run `make reference`")
    else:
        for path, text in written().items():
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
