"""Reads tables of finished runs: CSV with a row for each, such as an export of W&B, and MLflow's stores.

A row has the run's name, and by name its parameters, tags and final metrics.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Literal

from heldout.cli.histories import query_mlflow, read_texts
from heldout.cli.outcome import Refused
from heldout.client.recordings import NamedRun
from heldout.histories.names import parse_number, split_words
from heldout.studies.spec import BASE_ARM
from heldout.words import pluralize

Row = Mapping[str, str]

RUN_COLUMNS, SEED_COLUMNS = ("run", "run_name", "name", "run_id", "id"), ("seed", "random_seed", "random_state")
_LOWER = {"loss", "error", "perplexity", "crossentropy", "nll", "logloss", "mse", "mae", "rmse"}
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_+ .-]+")
# Columns and values that a message lists.
_SHOWN = 12
_RUNS_OF_MLFLOW = """
SELECT runs.run_uuid, runs.name, experiments.name FROM runs
JOIN experiments ON experiments.experiment_id = runs.experiment_id
WHERE runs.lifecycle_stage = 'active' ORDER BY runs.start_time, runs.run_uuid
"""
_FACTS_OF_MLFLOW = (
    "SELECT run_uuid, key, value FROM params",
    "SELECT run_uuid, key, value FROM tags",
    "SELECT run_uuid, key, value FROM latest_metrics WHERE NOT is_nan",
)


def read_csv_rows(path: Path) -> list[Row]:
    """Read a table with a line of names. Raises Refused, OSError."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    first = text.partition("\n")[0]
    try:
        rows = list(csv.DictReader(text.splitlines(), delimiter=max(",;\t|", key=first.count), restval=""))
    except csv.Error as error:
        raise Refused(f"{path} cannot be read as a table: {error}.") from None
    if not rows:
        raise Refused(f"{path} has no rows below its line of names.")
    return [{name.strip(): (cell or "").strip() for name, cell in row.items() if isinstance(name, str)} for row in rows]


def read_mlflow_rows(path: Path, experiment: str | None) -> list[Row]:
    """Read the runs of an experiment from MLflow's database or its folder `mlruns`.

    Args:
        experiment: its name; it may be left out if there is only one with runs.
    Raises:
        Refused: there is no such store or experiment, or several.
    """
    if path.is_dir() and (path / "mlflow.db").is_file():
        path /= "mlflow.db"
    found = _read_mlflow_folder(path) if path.is_dir() else _read_mlflow_database(path)
    names = sorted({name for name, _ in found})
    if experiment is None and len(names) > 1:
        raise Refused(f"{path} has several experiments: {_list(names)}. Choose one with --experiment.")
    rows = [row for name, row in found if experiment in (None, name)]
    if not rows:
        raise Refused(f"{path} has no runs of the experiment {experiment!r}. It has: {_list(names)}.")
    return rows


def group_rows(
    rows: Sequence[Row], *, by: str | None, base: str | None, seed: str | None, metric: str | None
) -> tuple[dict[str, list[NamedRun]], str, list[str]]:
    """Group rows into arms, the base first.

    Args:
        by: the column whose values are the arms. base: the value of the base.
        seed, metric: columns; by default those with such names.
    Returns:
        the runs of each arm, the metric, and sentences about rows that were left out.
    Raises:
        Refused: a column is missing, or several could be meant.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    by = _require_column(columns, by or "arm", "--by")
    run = next((name for name in columns if name.lower() in RUN_COLUMNS), None)
    if seed is not None:
        _require_column(columns, seed, "--seed")
    seed = seed or next((name for name in columns if name.lower() in SEED_COLUMNS), None)
    metric = _choose_metric(rows, columns, metric, {by, run, seed})
    values = list(dict.fromkeys(row.get(by, "") for row in rows))
    chosen = base if base is not None else next((value for value in values if value.lower() == BASE_ARM), None)
    if chosen is None or chosen not in values:
        named = "which one is the base" if base is None else f"the base {base!r} among them"
        raise Refused(f"{by} has the values {_list(values)}; expected {named}. Name one with --base VALUE.")
    arms: dict[str, list[NamedRun]] = {name_arm(by, value, chosen): [] for value in (chosen, *values)}
    without = 0
    for place, row in enumerate(rows):
        figure = parse_number(row.get(metric, ""))
        if figure is None:
            without += 1
            continue
        number = parse_number(row.get(seed, "")) if seed is not None else None
        known = int(number) if number is not None and number.is_integer() and 0 <= number < 2**31 else None
        name = (run and row.get(run)) or f"row {place + 1}"
        arms[name_arm(by, row.get(by, ""), chosen)].append(NamedRun(name[:200], known, figure))
    left_out = [f"{pluralize(without, 'row')} without {metric} {'is' if without == 1 else 'are'} left out."]
    return {name: of_arm for name, of_arm in arms.items() if of_arm}, metric, left_out if without else []


def name_arm(by: str, value: str, base: str) -> str:
    """Return an arm's name: `base`, `drop`, or `dropout 0.3`."""
    if value == base:
        return BASE_ARM
    text = value if by == "arm" else f"{by} {value}"
    cleaned = _NOT_IN_NAMES.sub(" ", text.lower()).strip()
    return (cleaned if cleaned[:1].isalpha() else f"arm {cleaned}")[:64]


def guess_better(metric: str) -> Literal["higher", "lower"]:
    """Return whether a metric is better if it is `higher` or `lower`, by its name."""
    return "lower" if set(split_words(metric)) & _LOWER else "higher"


def _choose_metric(rows: Sequence[Row], columns: Sequence[str], metric: str | None, others: set[str | None]) -> str:
    if metric is not None:
        return _require_column(columns, metric, "--metric")
    numeric = [
        name
        for name in columns
        if name not in others and any(parse_number(row.get(name, "")) is not None for row in rows)
    ]
    if len(numeric) != 1:
        raise Refused(f"Several columns could be the metric: {_list(numeric)}. Choose one with --metric.")
    return numeric[0]


def _require_column(columns: Sequence[str], name: str, option: str) -> str:
    if name not in columns:
        raise Refused(f"There is no {name!r} among {_list(columns)}. Choose one with {option}.")
    return name


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "") or "none"


def _read_mlflow_database(path: Path) -> list[tuple[str, Row]]:
    if not path.is_file():
        raise Refused(f"There is no {path}; expected MLflow's database or its folder mlruns.")
    try:
        runs, *found = query_mlflow(path, (_RUNS_OF_MLFLOW,), *((query,) for query in _FACTS_OF_MLFLOW))
    except ValueError as error:
        raise Refused(f"{path}: {error}.") from None
    facts: dict[str, dict[str, str]] = {}
    for run, key, value in chain.from_iterable(found):
        facts.setdefault(run, {})[key] = str(value)
    return [(experiment, {**facts.get(run, {}), "run": name or run}) for run, name, experiment in runs]


def _read_mlflow_folder(folder: Path) -> list[tuple[str, Row]]:
    found: list[tuple[str, Row]] = []
    for metrics in sorted(folder.glob("*/*/metrics")):
        run = metrics.parent
        if _read_meta(run).get("lifecycle_stage", "active") != "active":
            continue
        row = {name: text.strip() for part in ("params", "tags") for name, text in read_texts(run / part).items()}
        for name, text in read_texts(metrics).items():
            # Lines of time, value and step.
            lines = [line.split() for line in text.splitlines() if line.strip()]
            row[name] = lines[-1][1] if lines and len(lines[-1]) > 1 else ""
        row["run"] = row.get("mlflow.runName") or run.name
        found.append((_read_meta(run.parent).get("name") or run.parent.name, row))
    return found


def _read_meta(folder: Path) -> dict[str, str]:
    """Read the plain values of `meta.yaml`."""
    file = folder / "meta.yaml"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): _unquote(value.strip()) for name, _, value in pairs}


def _unquote(value: str) -> str:
    if value[:1] == '"':
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value.strip("'")
