"""Parts of commands that make datasets: options for reading an upload, and its result."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from heldout.cli import shown
from heldout.cli.command import Service, explain_interrupt
from heldout.cli.outcome import Exit, Refused, format_setting
from heldout.cli.screen import print_blocks, print_json, say, show_waiting
from heldout.cli.spec_files import build_command
from heldout.documents.audit import build_audit
from heldout.errors import InvalidSpec
from heldout.lifecycle.resources import DatasetStatus

if TYPE_CHECKING:
    from pydantic import BaseModel

    from heldout.client.client import Client
    from heldout.views.dataset import DatasetView

    Spec = TypeVar("Spec", bound=BaseModel)

INGEST_POLL_S = 0.3


def upload_fields(
    *,
    test: Annotated[
        float | None, typer.Option(help="Fraction of the images for the test split, if the upload has none.")
    ] = None,
    validation: Annotated[float | None, typer.Option(help="Fraction for the validation split, if it has none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random splits.")] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help="Ignore the upload's own splits and split all images again.")
    ] = False,
    folder: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=USE", help="Use of a folder: train, validation, test, class, ignore. Repeatable."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Images whose names match the same group stay together.")
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Images with the same value in this column stay together.")
    ] = None,
    resize: Annotated[str | None, typer.Option(metavar="HxW", help="One size for all, such as 64x64.")] = None,
    rule: Annotated[str, typer.Option(help="How an image gets that size: pad, crop or stretch.")] = "pad",
    colour: Annotated[str, typer.Option(help="auto, grey or rgb.")] = "auto",
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Continue without files that cannot be read.")
    ] = False,
) -> dict[str, Any]:
    """Return the given fields of a dataset's spec. Raises Refused."""
    if group_by is not None and group_column is not None:
        raise Refused("Give either --group-by or --group-column: images belong together by one rule")
    splits = {
        "test": test,
        "validation": validation,
        "seed": seed,
        "existing": "merge" if merge else None,
        "folders": _parse_folders(folder or []) or None,
    }
    fields = {
        "splits": {field: value for field, value in splits.items() if value is not None} or None,
        "group_by": group_by if group_column is None else {"column": group_column},
        "resize": None if resize is None else parse_size(resize, rule),
        "colour": None if colour == "auto" else colour,
        "skip_broken": skip_broken or None,
    }
    return {field: value for field, value in fields.items() if value is not None}


def takes_upload_fields(command: Callable[..., Exit | None]) -> Callable[..., Exit | None]:
    """Replace the command's parameter `upload` by the options of `upload_fields`; it receives their fields."""
    own, options = (dict(signature(function, eval_str=True).parameters) for function in (command, upload_fields))

    @wraps(command)
    def run(**given: Any) -> Exit | None:
        upload = upload_fields(**{name: given.pop(name) for name in options})
        return command(**given, upload=upload)

    parameters = [part for name in own for part in (options.values() if name == "upload" else [own[name]])]
    run.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    return run


def check_spec(kind: type[Spec], fields: dict[str, Any]) -> Spec:
    """Return the body of a request, refused as the service would, before anything is sent. Raises Refused."""
    from heldout.spec.field_errors import validate  # loading it takes longer than `--help`

    try:
        return validate(kind, fields)
    except InvalidSpec as error:
        first = error.errors[0]
        where = format_setting(first.pointer)
        raise Refused(f"{where}: {first.detail}" if where else first.detail) from None


def wait_for_ingest(client: Client, dataset_id: str, *, quiet: bool) -> DatasetView:
    """Wait until the dataset's check has ended, and print its place in the queue while it waits for a worker."""
    shown = None
    again = f"`heldout datasets show {dataset_id}` shows it again."
    with explain_interrupt("The ingest", again), show_waiting(quiet=quiet) as tell:
        dataset = client.datasets.get(dataset_id)
        while dataset.status in {DatasetStatus.UPLOADING, DatasetStatus.CHECKING}:
            if dataset.queue_position not in (None, shown):
                shown = dataset.queue_position
                tell(f"{dataset.name}@{dataset.version} waits for a worker: place {shown:,} in the queue")
            time.sleep(INGEST_POLL_S)
            dataset.refresh()
    return dataset.view


def show_outcome(service: Service, dataset: DatasetView) -> Exit | None:
    """Print the result of an upload, with the findings of its audit."""
    ready = dataset.status is DatasetStatus.READY
    if service.as_json:
        print_json(dataset)
    elif ready:
        shown.show_dataset_line(dataset)
        audit = service.client.datasets.audit(dataset.id)
        print_blocks(build_audit(audit))
        if dataset.shape is not None and dataset.classes is not None:  # always the case once it is ready
            start = audit.start
            chosen = {} if start is None else {"preset": start.preset}
            command = build_command(dataset.name, dataset.shape, len(dataset.classes), **chosen)
            say(f"`{command}` trains on it.{'' if start is None else f' {start.reason}'}")
    elif dataset.error:
        error = dataset.error
        say(f"{dataset.name}@{dataset.version} rejected: {error.code}: {error.detail}", file=sys.stderr)
        if dataset.upload_kept_until is not None:
            again = f"heldout datasets resize {dataset.name}@{dataset.version} 64x64"
            say(f"`{again}` reads the same upload again, without sending it again.", file=sys.stderr)
    return None if ready else Exit.FAILED


def parse_size(text: str, rule: str) -> dict[str, Any]:
    """Return the fields of a `resize`. Raises Refused."""
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise Refused(f"--resize {text}: expected HEIGHTxWIDTH, such as 64x64")
    return {"height": int(height), "width": int(width), "rule": rule}


def _parse_folders(texts: list[str]) -> dict[str, str]:
    uses = {}
    for text in texts:
        name, equals, use = text.rpartition("=")
        if not (name and equals):
            raise Refused(f"--folder {text}: expected NAME=USE, such as samples=ignore")
        uses[name.strip("/")] = use
    return uses
