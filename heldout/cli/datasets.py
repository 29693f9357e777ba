"""`heldout datasets`: list, upload, show and delete datasets."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from heldout.cli import shown, suspects
from heldout.cli.command import AsJson, Home, ends_with_code, print_list, service
from heldout.cli.outcome import Exit, Refused
from heldout.cli.screen import console, is_terminal, print_json, say
from heldout.dataset_lifecycle import DatasetStatus
from heldout.packing import NothingToPack, files_of, packed, packed_together

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.dataset import DatasetView


INGEST_POLL_S = 0.3

Reference = Annotated[str, typer.Argument(metavar="DATASET", help="A name, name@version, or an id, ds_….")]

app = typer.Typer(help="List the datasets that jobs can name, and bring your own.", invoke_without_command=True)


@app.callback()
def datasets(context: typer.Context, as_json: AsJson = False, home: Home = None) -> None:
    """List the datasets that jobs can name, and bring your own."""
    if context.invoked_subcommand is None:
        _list(as_json=as_json, home=home)


@ends_with_code
def _list(*, as_json: bool, home: Path | None) -> None:
    with service(home) as client:
        print_list(list(client.datasets()), as_json, shown.show_datasets)


@app.command()
@ends_with_code
def push(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="A folder of class/image, an archive, .npz or Parquet. Several, such as train.zip test.zip, go up "
            "together, each as a folder of its name.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="What jobs call it; by default the path's own name, needed with several paths.")
    ] = None,
    description: Annotated[str, typer.Option(help="Free text, shown beside its name.")] = "",
    test: Annotated[
        float | None, typer.Option(help="Fraction of the images for the test split, if the upload has none.")
    ] = None,
    validation: Annotated[float | None, typer.Option(help="Fraction for the validation split, if it has none.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the random splits.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Ignore the upload's own splits and split anew.")] = False,
    folder: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=USE", help="What a folder is: train, validation, test, class, ignore; repeatable."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Images whose names match the same group stay together.")
    ] = None,
    resize: Annotated[str | None, typer.Option(metavar="HxW", help="One size for all, such as 64x64.")] = None,
    rule: Annotated[str, typer.Option(help="How an image gets that size: pad, crop or stretch.")] = "pad",
    colour: Annotated[str, typer.Option(help="auto, grey or rgb.")] = "auto",
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Go on without files that cannot be read.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Send it, print its id, end.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Upload images, wait until they are ingested, and show what the audit found."""
    splits = {
        "test": test,
        "validation": validation,
        "seed": seed,
        "existing": "merge" if merge else None,
        "folders": _folders(folder or []),
    }
    if len(paths) > 1 and name is None:
        raise Refused("--name is needed with several paths")
    spec = _spec(
        {
            "name": name or _name_of(paths[0]),
            "description": description,
            "splits": {field: value for field, value in splits.items() if value is not None},
            "group_by": group_by,
            "resize": None if resize is None else _size(resize, rule),
            "colour": colour,
            "skip_broken": skip_broken,
        }
    )
    with service(home) as client:
        dataset = _send(client, paths, spec, quiet=as_json)
        if detach:
            print_json(dataset) if as_json else say(dataset.id)
            return None
        return _show_outcome(client, _wait_for_ingest(client, dataset.id), as_json)


@app.command()
@ends_with_code
def show(dataset: Reference, as_json: AsJson = False, home: Home = None) -> None:
    """Show a dataset."""
    with service(home) as client:
        found = client.dataset(dataset)
    print_json(found) if as_json else shown.show_dataset(found)


@app.command()
@ends_with_code
def audit(dataset: Reference, as_json: AsJson = False, home: Home = None) -> None:
    """Show what the audit of a dataset found: leaks, conflicts, imbalance, shift."""
    with service(home) as client:
        found = client.dataset_audit(dataset)
    if as_json:
        print_json(found)
    else:
        shown.show_left_out(found.source)
        shown.show_findings(found.findings)


@app.command()
@ends_with_code
def ledger(
    dataset: Reference,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many looks to list, newest first.")] = 20,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show how often your jobs have looked at a dataset's validation and test labels."""
    with service(home) as client:
        found = client.dataset_ledger(dataset, limit=limit)
    print_json(found) if as_json else shown.show_ledger(found)


app.command()(suspects.suspects)


@app.command()
@ends_with_code
def delete(dataset: Reference, as_json: AsJson = False, home: Home = None) -> None:
    """Delete a dataset that no job needs."""
    with service(home) as client:
        found = client.dataset(dataset)
        client.delete_dataset(found.id)
    deleted = {"id": found.id, "object": "dataset", "deleted": True}
    print_json(deleted) if as_json else say(f"{found.name}@{found.version} deleted")


def _send(client: Client, paths: list[Path], spec: dict[str, Any], *, quiet: bool) -> DatasetView:
    if len(paths) > 1:
        try:
            chunks = packed_together(paths)
            dataset = client.create_dataset(spec)
            with _UploadBar(None, quiet) as bar:
                return client.upload(dataset.id, bar(chunks))
        except NothingToPack as error:
            raise Refused(str(error)) from None
    [path] = paths
    if path.is_dir():
        try:
            files = files_of(path)
        except NothingToPack as error:
            raise Refused(str(error)) from None
        dataset = client.create_dataset(spec)
        with _UploadBar(sum(size for _, size in files), quiet) as bar:
            return client.upload(dataset.id, bar(packed(path, files)))
    path.open("rb").close()  # fails here, before a dataset is announced, if it cannot be read
    dataset = client.create_dataset(spec)
    with _UploadBar(path.stat().st_size, quiet) as bar:
        return client.upload(dataset.id, path, wrap_chunks=bar)


class _UploadBar:
    """Shows how much of an upload has been sent, where standard output is a terminal."""

    def __init__(self, total: int | None, quiet: bool) -> None:
        self._total = total
        self._shown = is_terminal() and not quiet

    def __enter__(self) -> _UploadBar:
        if self._shown:
            from rich import progress

            self._bars = progress.Progress(
                progress.TextColumn("uploading"),
                progress.BarColumn(bar_width=24),
                progress.DownloadColumn(),
                progress.TransferSpeedColumn(),
                console=console(),
            )
            self._bars.start()
            self._task = self._bars.add_task("", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._bars.stop()

    def __call__(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        if self._shown:
            self._bars.update(self._task, completed=0)  # a repeated upload starts again from its beginning
        for chunk in chunks:
            yield chunk
            if self._shown:
                self._bars.advance(self._task, len(chunk))


def _wait_for_ingest(client: Client, dataset_id: str) -> DatasetView:
    """The dataset once its ingest has ended."""
    try:
        while (dataset := client.dataset(dataset_id)).status in {DatasetStatus.UPLOADING, DatasetStatus.CHECKING}:
            time.sleep(INGEST_POLL_S)
    except KeyboardInterrupt:
        say(f"The ingest goes on. `heldout datasets show {dataset_id}` shows it again.", file=sys.stderr)
        raise
    return dataset


def _show_outcome(client: Client, dataset: DatasetView, as_json: bool) -> Exit | None:
    ready = dataset.status is DatasetStatus.READY
    if as_json:
        print_json(dataset)
    elif ready:
        shown.show_dataset_line(dataset)
        audit = client.dataset_audit(dataset.id)
        shown.show_left_out(audit.source)
        shown.show_findings(audit.findings)
    elif dataset.error:
        error = dataset.error
        say(f"{dataset.name}@{dataset.version} rejected: {error.code}: {error.detail}", file=sys.stderr)
    return None if ready else Exit.FAILED


def _spec(fields: dict[str, Any]) -> dict[str, Any]:
    """The body of the request; refused here as the service would refuse it, before a byte is sent."""
    from pydantic import ValidationError  # takes longer to load than `--help` takes

    from heldout.datasets import DatasetSpec

    try:
        return DatasetSpec.model_validate(fields).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def _name_of(path: Path) -> str:
    """The path's last part without its extensions; characters that no name may have become hyphens."""
    stem = path.resolve().name.partition(".")[0].lower()
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in stem).strip("-_")


def _size(text: str, rule: str) -> dict[str, int | str | Literal["pad"]]:
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise Refused(f"--resize {text}: expected HEIGHTxWIDTH, such as 64x64")
    return {"height": int(height), "width": int(width), "rule": rule}


def _folders(texts: list[str]) -> dict[str, str]:
    uses = {}
    for text in texts:
        name, equals, use = text.rpartition("=")
        if not (name and equals):
            raise Refused(f"--folder {text}: expected NAME=USE, such as samples=ignore")
        uses[name.strip("/")] = use
    return uses
