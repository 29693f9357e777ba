"""`heldout datasets`: list, upload, show and delete datasets."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli import completion, local_audit, shown, suspects
from heldout.cli.audits import SHOWN_EXAMPLES
from heldout.cli.command import AsJson, Home, ends_with_code, pass_on, print_list, service
from heldout.cli.ingests import show_outcome, wait_for_ingest
from heldout.cli.outcome import Exit, Refused
from heldout.cli.screen import console, is_terminal, print_json, say
from heldout.cli.upload_options import (
    Colour,
    Folders,
    GroupBy,
    Merge,
    Resize,
    Rule,
    Seed,
    SkipBroken,
    TestShare,
    ValidationShare,
    dataset_spec,
    upload_fields,
)
from heldout.dataset_lifecycle import DatasetStatus
from heldout.packing import NothingToPack, hidden_in, name_of, to_send

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.dataset import DatasetView


Reference = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="A name, name@version, or an id, ds_….", autocompletion=completion.dataset_names
    ),
]

app = typer.Typer(help="List datasets, and bring your own images.", invoke_without_command=True)


@app.callback()
def datasets(
    context: typer.Context,
    status: Annotated[
        DatasetStatus | None, typer.Option(help="Only of this status; rejected versions before newer ones too.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """List the datasets that jobs can name, and bring your own."""
    if context.invoked_subcommand is None:
        _list(status, as_json=as_json, home=home)
    else:
        pass_on(context, home=home, as_json=as_json)


@ends_with_code
def _list(status: DatasetStatus | None, *, as_json: bool, home: Path | None) -> None:
    with service(home) as client:
        print_list(list(client.datasets(status=status)), as_json, shown.show_datasets)


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
    test: TestShare = None,
    validation: ValidationShare = None,
    seed: Seed = None,
    merge: Merge = False,
    folder: Folders = None,
    group_by: GroupBy = None,
    resize: Resize = None,
    rule: Rule = "pad",
    colour: Colour = "auto",
    skip_broken: SkipBroken = False,
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Send it, print its id, end.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Upload images, wait until they are ingested, and show what the audit found."""
    if len(paths) > 1 and name is None:
        raise Refused("--name is needed with several paths")
    spec = dataset_spec(
        {
            "name": name or name_of(paths[0]),
            "description": description,
            **upload_fields(
                test=test,
                validation=validation,
                seed=seed,
                merge=merge,
                folder=folder,
                group_by=group_by,
                resize=resize,
                rule=rule,
                colour=colour,
                skip_broken=skip_broken,
            ),
        }
    ).model_dump(mode="json")
    with service(home) as client:
        dataset = _send(client, paths, spec, quiet=as_json)
        if detach:
            print_json(dataset) if as_json else say(dataset.id)
            return None
        return show_outcome(client, wait_for_ingest(client, dataset.id), as_json)


@app.command()
@ends_with_code
def show(dataset: Reference, as_json: AsJson = False, home: Home = None) -> None:
    """Show a dataset."""
    with service(home) as client:
        found = client.dataset(dataset)
    print_json(found) if as_json else shown.show_dataset(found)


app.command()(ends_with_code(local_audit.audit))


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
    """Announce the dataset and send it; what cannot be sent is not announced, or is withdrawn."""
    try:
        content, total = to_send(paths)
    except NothingToPack as error:
        raise Refused(str(error)) from None
    _say_what_is_hidden([path for path in paths if path.is_dir()])
    dataset = client.create_dataset(spec)
    try:
        with _UploadBar(total, quiet) as bar:
            if isinstance(content, Path):
                return client.upload(dataset.id, content, wrap_chunks=bar)
            return client.upload(dataset.id, bar(content))
    except (NothingToPack, OSError) as error:
        client.delete_dataset(dataset.id)
        if isinstance(error, NothingToPack):
            raise Refused(str(error)) from None
        raise


def _say_what_is_hidden(folders: Iterable[Path]) -> None:
    if hidden := [name for folder in folders for name in hidden_in(folder)]:
        more = f" and {len(hidden) - SHOWN_EXAMPLES:,} more" if len(hidden) > SHOWN_EXAMPLES else ""
        names = ", ".join(hidden[:SHOWN_EXAMPLES])
        say(
            f"Not sent, as {'its name begins' if len(hidden) == 1 else 'their names begin'} with a dot: {names}{more}",
            file=sys.stderr,
        )


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
