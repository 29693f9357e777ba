"""`heldout datasets`: list, push, look at, delete."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from heldout.cli import shown
from heldout.cli.command import AsJson, Home, ends_with_code, print_list, service
from heldout.cli.outcome import Exit, Refused
from heldout.cli.screen import console, is_terminal, print_json, say
from heldout.packing import NothingToPack, files_of, packed

if TYPE_CHECKING:
    from heldout.client import Client
    from heldout.views.dataset import DatasetView


LOOK_EVERY_S = 0.3

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
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder of class/image, an archive, .npz or Parquet.")],
    name: Annotated[str | None, typer.Option(help="What jobs call it; by default the path's own name.")] = None,
    description: Annotated[str, typer.Option(help="For people.")] = "",
    test: Annotated[float | None, typer.Option(help="Share of a test split to cut where there is none.")] = None,
    validation: Annotated[float | None, typer.Option(help="Share of a validation split, likewise.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the cuts.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Pool the splits that it has, and cut anew.")] = False,
    group_by: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Images whose names match the same group stay together.")
    ] = None,
    resize: Annotated[str | None, typer.Option(metavar="HxW", help="One size for all, such as 64x64.")] = None,
    rule: Annotated[str, typer.Option(help="How an image gets that size: pad, crop or stretch.")] = "pad",
    colour: Annotated[str, typer.Option(help="auto, grey or rgb.")] = "auto",
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Send it, print its id, end.")] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Upload images, wait until they are checked, and say what was found."""
    splits = {"test": test, "validation": validation, "seed": seed, "existing": "merge" if merge else None}
    spec = _spec(
        {
            "name": name or _name_of(path),
            "description": description,
            "splits": {field: value for field, value in splits.items() if value is not None},
            "group_by": group_by,
            "resize": None if resize is None else _size(resize, rule),
            "colour": colour,
        }
    )
    with service(home) as client:
        dataset = _send(client, path, spec, quiet=as_json)
        if detach:
            print_json(dataset) if as_json else say(dataset.id)
            return None
        return _outcome(client, _checked(client, dataset.id), as_json)


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
    """Show what the check of a dataset saw: leaks, conflicts, imbalance, shift."""
    with service(home) as client:
        found = client.dataset_audit(dataset)
    print_json(found) if as_json else shown.show_findings(found.findings)


@app.command()
@ends_with_code
def delete(dataset: Reference, as_json: AsJson = False, home: Home = None) -> None:
    """Delete a dataset that no job needs."""
    with service(home) as client:
        found = client.dataset(dataset)
        client.delete_dataset(found.id)
    deleted = {"id": found.id, "object": "dataset", "deleted": True}
    print_json(deleted) if as_json else say(f"{found.name}@{found.version} deleted")


def _send(client: Client, path: Path, spec: dict[str, Any], *, quiet: bool) -> DatasetView:
    if path.is_dir():
        try:
            files = files_of(path)
        except NothingToPack as error:
            raise Refused(str(error)) from None
        dataset = client.create_dataset(spec)
        with _Progress(sum(size for _, size in files), quiet) as told:
            return client.upload(dataset.id, told(packed(path, files)))
    path.open("rb").close()  # whether it can be read is known before anything is announced
    dataset = client.create_dataset(spec)
    with _Progress(path.stat().st_size, quiet) as told:
        return client.upload(dataset.id, path, passing=told)


class _Progress:
    """A bar that follows what passes, on a terminal; else nothing."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total = total
        self._shown = is_terminal() and not quiet

    def __enter__(self) -> _Progress:
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
            self._bars.update(self._task, completed=0)  # it may be sent again from its beginning
        for chunk in chunks:
            yield chunk
            if self._shown:
                self._bars.advance(self._task, len(chunk))


def _checked(client: Client, dataset_id: str) -> DatasetView:
    """The dataset once its check has ended."""
    try:
        while (dataset := client.dataset(dataset_id)).status in {"uploading", "checking"}:
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        say(f"The check goes on. `heldout datasets show {dataset_id}` shows it again.", file=sys.stderr)
        raise
    return dataset


def _outcome(client: Client, dataset: DatasetView, as_json: bool) -> Exit | None:
    ready = dataset.status == "ready"
    if as_json:
        print_json(dataset)
    elif ready:
        shown.show_dataset_line(dataset)
        shown.show_findings(client.dataset_audit(dataset.id).findings)
    elif dataset.error:
        error = dataset.error
        say(f"{dataset.name}@{dataset.version} rejected: {error.code}: {error.detail}", file=sys.stderr)
    return None if ready else Exit.FAILED


def _spec(fields: dict[str, Any]) -> dict[str, Any]:
    """The body, refused here where the service would: before a byte is sent."""
    from pydantic import ValidationError  # takes longer to load than `--help` takes

    from heldout.datasets import DatasetSpec

    try:
        return DatasetSpec.model_validate(fields).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None


def _name_of(path: Path) -> str:
    """The path's last part without its extensions, in what a name may hold."""
    stem = path.resolve().name.partition(".")[0].lower()
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in stem).strip("-_")


def _size(text: str, rule: str) -> dict[str, int | str | Literal["pad"]]:
    height, _, width = text.lower().replace("×", "x").partition("x")
    if not (height.isdigit() and width.isdigit()):
        raise Refused(f"--resize {text}: expected HEIGHTxWIDTH, such as 64x64")
    return {"height": int(height), "width": int(width), "rule": rule}
