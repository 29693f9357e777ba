"""`heldout compare`: compare trainings that were done before, by their answers or their final figures."""

import glob
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from heldout.cli.command import CostsFile, GroupColumn, Objective, Service, read_costs
from heldout.cli.diagnosing import holds_predictions
from heldout.cli.outcome import Exit, Refused, exit_of_job
from heldout.cli.screen import say
from heldout.client.failures import ApiProblem
from heldout.words import pluralize

Better = Annotated[
    Literal["higher", "lower"] | None,
    typer.Option(help="Which figures are better; by default lower for losses and errors, else higher."),
]


def compare(
    service: Service,
    arms: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARM=FILES",
            help="The runs of each way to train, base first: base='runs/base-*.npz' drop=runs/drop. Files of answers, "
            "folders of them, or histories of any tool.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="A table with a row for each run: run, arm, seed, metric."),
    ] = None,
    mlflow: Annotated[
        Path | None, typer.Option(metavar="PATH", help="MLflow's database, or its folder mlruns.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="With --mlflow: the experiment.")] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The column, parameter or tag whose values are the arms; by default arm."),
    ] = None,
    base: Annotated[str | None, typer.Option(metavar="VALUE", help="The value of the base; by default base.")] = None,
    seed: Annotated[str | None, typer.Option(metavar="COLUMN", help="The column or parameter of the seed.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The metric to compare. For histories: accuracy or loss of validation."),
    ] = None,
    better: Better = None,
    images: Annotated[
        int | None,
        typer.Option(min=2, help="How many images each figure was measured on, to include the luck of the images."),
    ] = None,
    objective: Objective = None,
    costs: CostsFile = None,
    group_column: GroupColumn = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="A name for the study.")] = None,
    embedded: Annotated[
        bool, typer.Option("--embedded", help="Use no service, and keep the study in heldout-studies.sqlite.")
    ] = False,
) -> Exit | None:
    """Compare trainings that you already have. Say which are better, worse, or only lucky."""
    from heldout.cli.recorded_tables import group_rows, guess_better, read_csv_rows, read_mlflow_rows
    from heldout.cli.running.study import open_embedded_service, save_report  # loads what only this needs
    from heldout.cli.shown import print_study

    sources = [source for source in (arms, table, mlflow) if source]
    if len(sources) != 1:
        raise Refused(f"Received {len(sources)} sources of runs; expected ARM=FILES, or --csv, or --mlflow.")
    if arms:
        for option, value in {"--by": by, "--base": base, "--seed": seed, "--experiment": experiment}.items():
            if value is not None:
                raise Refused(f"{option} belongs to --csv and --mlflow. The first arm is the base.")
        given: Mapping[str, Any] = read_arms(arms, metric)
        named = metric or "accuracy"
    else:
        rows = read_csv_rows(table) if table is not None else read_mlflow_rows(mlflow or Path(), experiment)
        given, named, notes = group_rows(rows, by=by, base=base, seed=seed, metric=metric)
        for note in notes:
            say(note, file=sys.stderr)
    has_figures = any(isinstance(run.recorded, float) for of_arm in given.values() for run in of_arm)
    direction = better or guess_better(named) if has_figures else "higher"
    if has_figures and direction == "higher":
        given = _scale_percentages(given, named)
    if embedded and service.home is not None:
        raise Refused("--embedded and --home exclude each other. Give only one.")
    with open_embedded_service() if embedded else nullcontext(service.client) as client:
        try:
            study = client.studies.recorded(
                given,
                metric=named if has_figures else None,
                better=direction,
                images=images,
                objective=objective,
                costs=read_costs(costs),
                group_column=group_column,
                name=name,
            ).view
        except ApiProblem as problem:
            for line in getattr(problem, "__notes__", ()):
                say(line, file=sys.stderr)
            raise
        if embedded:
            save_report(client, study.id)
    service.print(study, partial(print_study, says_more=not embedded), one_line=True)
    return exit_of_job(study.status)


def read_arms(arms: Sequence[str], metric: str | None) -> dict[str, list[Any]]:
    from heldout.client.recordings import name_runs

    found: dict[str, list[Path]] = {}
    for text in arms:
        name, equals, pattern = text.partition("=")
        if not equals or not name or not pattern:
            raise Refused(f"{text}: expected ARM=FILES, such as base='runs/base-*.npz'.")
        found.setdefault(name, []).extend(list_runs(pattern))
    runs = {name: name_runs(name, paths) for name, paths in found.items()}
    return {
        name: [run if holds_predictions(Path(str(run.recorded))) else _read_figure(run, metric) for run in of_arm]
        for name, of_arm in runs.items()
    }


def list_runs(pattern: str) -> list[Path]:
    """Return the files that a pattern names, or the runs in a folder."""
    paths = [Path(path) for path in sorted(glob.glob(pattern))]
    if not paths:
        raise Refused(f"{pattern}: there is no such file.")
    if len(paths) == 1 and paths[0].is_dir():
        inside = sorted(path for path in paths[0].iterdir() if not path.name.startswith("."))
        answers = [path for path in inside if path.is_file() and holds_predictions(path)]
        return answers or inside
    return paths


def _read_figure(run: Any, metric: str | None) -> Any:
    """Return a run with the last validation figure of its history."""
    from heldout.cli.histories import read_history
    from heldout.cli.recorded_tables import guess_better

    history = read_history(Path(str(run.recorded))).history
    wants_loss = metric is not None and guess_better(metric) == "lower"
    curve = history.validation_loss if wants_loss else history.validation_accuracy
    last = next((value for value in reversed(curve) if value is not None), None)
    if last is None:
        what = "loss" if wants_loss else "accuracy"
        raise Refused(f"{run.recorded} has no validation {what}. Choose --metric accuracy or --metric loss.")
    return replace(run, recorded=float(last))


def _scale_percentages(given: Mapping[str, Sequence[Any]], metric: str) -> dict[str, list[Any]]:
    """Return figures as shares if they are percentages."""
    figures = [run.recorded for of_arm in given.values() for run in of_arm if isinstance(run.recorded, float)]
    if not 1 < max(figures, default=0) <= 100 or min(figures) < 0:
        return {name: list(of_arm) for name, of_arm in given.items()}
    say(
        f"{metric}: {pluralize(len(figures), 'value')} up to {max(figures):g} are read as percentages.", file=sys.stderr
    )
    return {name: [replace(run, recorded=run.recorded / 100) for run in of_arm] for name, of_arm in given.items()}
