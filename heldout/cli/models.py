"""`heldout models`: upload, list, show and delete models; `heldout evaluate`: measure one on a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import Dataset, Detach, Group, ModelId, Service, explain_interrupt
from heldout.cli.outcome import Exit, exit_of_job
from heldout.cli.references import MODEL, Names, may_be_path
from heldout.cli.screen import print_blocks, print_json, print_table, say
from heldout.lifecycle.resources import ModelFormat, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.client.client import Client
    from heldout.views.model import ModelView

_WAIT_S = 30


def list_models(service: Service) -> None:
    """List the models that you have uploaded, and those that the operator shares, newest first."""
    service.print_list(service.client.models.list(), _show_all)


def show(service: Service, model_id: ModelId) -> None:
    """Show what a model takes and gives, and its layers."""
    service.print(service.client.models.get(model_id).view, _show)


def push(
    service: Service,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A .keras file, an ONNX file, or the JSON of `model.to_json()`.")
    ],
    name: Annotated[str | None, typer.Option(help="Default: the name of the file.")] = None,
) -> Exit | None:
    """Upload a model, wait until it has been read, and show it. A file that was uploaded before is used again."""
    from heldout.client.failures import ModelRejected

    try:
        found = service.client.models.push(file, name=name).view
    except ModelRejected as rejected:
        why = str(rejected)
        service.print(rejected.model, lambda _: say(why, file=sys.stderr))
        return Exit.FAILED
    service.print(found, _show)
    return None


def check(
    service: Service,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .keras file, or the JSON of `model.to_json()`.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Also check it against a dataset's images and classes.")
    ] = None,
) -> Exit | None:
    """Say what looks wrong in a network's layers, without training it. The service reads the file, and keeps it."""
    from heldout.client.failures import ModelRejected
    from heldout.documents.notes import build_notes

    try:
        found = service.client.models.push(file).view
    except ModelRejected as rejected:
        why = str(rejected)
        service.print(rejected.model, lambda _: say(why, file=sys.stderr))
        return Exit.FAILED
    notes = service.client.models.get(found.id).view.notes
    if dataset is not None:
        network = {"model": found.id, **({"head": "replace"} if found.gives == "feature_map" else {})}
        notes = service.client.jobs.estimate({"dataset": dataset, "network": network, "training": {}}).notes
    if service.as_json:
        print_json({"object": "check", "model": found.id, "notes": notes})
        return None
    if notes is None:
        say("The layers of this file cannot be checked: it is not a Keras model.")
        return None
    print_blocks(build_notes(notes))
    say("")
    say(f"The model is {found.id}. `heldout train --model {found.id} --dataset NAME` trains it.")
    return None


def delete(service: Service, model_id: ModelId) -> None:
    """Delete a model. Its evaluations stay."""
    service.client.models.delete(model_id)
    service.print_deleted("model", model_id)


app = Group(list_models, "List models that were uploaded.")
app.add(push, show, check, delete)


def evaluate(
    service: Service,
    model: Annotated[
        str,
        Names(MODEL, is_file=may_be_path),
        typer.Argument(metavar="FILE|MODEL", help="A .keras or ONNX file, or an uploaded model."),
    ],
    dataset: Dataset,
    detach: Detach = False,
) -> Exit | None:
    """Measure a model that was trained anywhere. Say why its test results are poor."""
    client = service.client
    found = _wait_for_upload(client, model)
    if found.error is not None:
        why = f"{found.name} rejected: {found.error.detail}"
        service.print(found, lambda _: say(why, file=sys.stderr))
        return Exit.FAILED
    evaluation = client.evaluations.create(found.id, dataset).view
    if detach:
        service.print_id(evaluation)
        return None
    with explain_interrupt(evaluation.id, f"GET /v1/evaluations/{evaluation.id} shows it."):
        while not evaluation.has_ended:
            evaluation = client.evaluations.get(evaluation.id, wait_s=_WAIT_S).view
    if service.as_json:
        print_json(evaluation)
    elif evaluation.metrics is not None:
        from heldout.documents.evaluation import build_evaluation

        print_blocks(build_evaluation(evaluation, client.evaluations.diagnosis(evaluation.id)))
    else:
        why = "" if evaluation.error is None else f": {evaluation.error.code}: {evaluation.error.detail}"
        say(f"{evaluation.id} {evaluation.status}{why}", file=sys.stderr)
    return exit_of_job(evaluation.status)


def _wait_for_upload(client: Client, model: str) -> ModelView:
    """Upload the file, and return the model after it has been read."""
    # An existing file takes precedence, even if its name begins like a model's id.
    is_id = model.startswith("mod_") and not Path(model).exists()
    found = client.models.get(model).view if is_id else client.models.create(Path(model)).view
    while not found.has_ended:
        found = client.models.get(found.id, wait_s=_WAIT_S).view
    return found


def _show_all(found: Sequence[ModelView]) -> None:
    from heldout.documents.model import format_sizes

    rows = [
        (
            model.id,
            model.name,
            model.status.value,
            format_sizes(model.input_shape) or None,
            format_sizes(model.output_shape) or None,
            model.parameters,
        )
        for model in found
    ]
    print_table(("ID", "NAME", "STATUS", "TAKES", "GIVES", "PARAMETERS"), rows, right=(5,))


def _show(model: ModelView) -> None:
    from heldout.documents.model import build_model

    print_blocks(build_model(model))
    if model.status is ModelStatus.READY and model.format is ModelFormat.KERAS:
        say("")
        say(f"`heldout train --model {model.id} --dataset NAME` trains it.")
