"""`heldout evaluate`: measure a model that was trained anywhere on every split of a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli import completion, figures
from heldout.cli.command import AsJson, Home, service
from heldout.cli.outcome import Exit
from heldout.cli.screen import print_json, print_table, say, say_prose
from heldout.cli.shown_diagnosis import show_diagnosis

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.stored.final import SplitResult
    from heldout.views.evaluation import EvaluationView
    from heldout.views.model import ModelView

_WAIT_S = 30


def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="FILE|ID", help="A .keras or ONNX file; or the id of one that is there, mod_….")
    ],
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="A name, name@version, or an id, ds_….", autocompletion=completion.dataset_names
        ),
    ],
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Order it, print its id, end.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Measure a model that was trained anywhere, and say why its test results are poor."""
    with service(home) as client:
        found = _uploaded(client, model)
        if found.error is not None:
            print_json(found) if as_json else say(f"{found.name} rejected: {found.error.detail}", file=sys.stderr)
            return Exit.FAILED
        evaluation = client.evaluate(found.id, dataset)
        if detach:
            print_json(evaluation) if as_json else say(evaluation.id)
            return None
        evaluation = _ended(client, evaluation)
        if as_json:
            print_json(evaluation)
        elif evaluation.metrics is not None:
            _show(evaluation)
            say("")
            show_diagnosis(client.evaluation_diagnosis(evaluation.id))
        else:
            why = "" if evaluation.error is None else f": {evaluation.error.code}: {evaluation.error.detail}"
            say(f"{evaluation.id} {evaluation.status}{why}", file=sys.stderr)
    ends = {"succeeded": None, "cancelled": Exit.CANCELLED}
    return ends.get(evaluation.status, Exit.FAILED)


def _uploaded(client: Client, model: str) -> ModelView:
    """The model once its file has been read."""
    # A file that is there is meant, even where its name begins as a model's id does.
    is_id = model.startswith("mod_") and not Path(model).exists()
    found = client.uploaded_model(model) if is_id else client.upload_model(Path(model))
    while not found.has_ended:
        found = client.uploaded_model(found.id, wait_s=_WAIT_S)
    return found


def _ended(client: Client, evaluation: EvaluationView) -> EvaluationView:
    try:
        while not evaluation.has_ended:
            evaluation = client.evaluation(evaluation.id, wait_s=_WAIT_S)
    except KeyboardInterrupt:
        say(f"{evaluation.id} goes on. GET /v1/evaluations/{evaluation.id} shows it.", file=sys.stderr)
        raise
    return evaluation


def _show(evaluation: EvaluationView) -> None:
    assert evaluation.metrics is not None
    say_prose(evaluation.headline)
    say_prose(evaluation.summary)
    say("")
    say(f"{evaluation.id}  {evaluation.model.name} ({evaluation.model.id}) on {evaluation.dataset.name}")
    headings = ["SPLIT", "IMAGES", "LOSS", "ACCURACY", "95% INTERVAL"]
    rows = []
    for name in ("train", "validation", "test"):
        result: SplitResult | None = getattr(evaluation.metrics, name)
        given = None if evaluation.as_given is None else getattr(evaluation.as_given, name)
        if result is not None:
            accuracy, interval = figures.accuracy(result.accuracy), figures.interval(result.interval)
            as_given = [] if given is None else [figures.accuracy(given.accuracy)]
            rows.append([name, f"{result.count:,}", figures.loss(result.loss), accuracy, interval, *as_given])
    if evaluation.as_given is not None and evaluation.preprocessing is not None:
        headings.append("AS GIVEN")
        say_prose(f"Measured with {evaluation.preprocessing.in_words}; AS GIVEN is its accuracy without that.")
    print_table(headings, rows, right=(1, 2, 3, 5))
