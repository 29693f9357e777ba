"""`heldout datasets`: list, upload, show and delete datasets, and search their labels."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heldout.cli import auditing, shown
from heldout.cli.command import Dataset, Group, Service, explain_interrupt
from heldout.cli.fix import different, fix
from heldout.cli.outcome import Exit, Refused
from heldout.cli.screen import is_terminal, print_blocks, print_table, say, show_waiting
from heldout.cli.uploads import check_spec, parse_size, show_outcome, takes_upload_fields, wait_for_ingest
from heldout.client.packing import NothingToPack, derive_name, list_hidden
from heldout.documents.audit import SHOWN_NAMES
from heldout.documents.dataset import lay_out_dataset
from heldout.lifecycle.resources import DatasetStatus
from heldout.words import format_duration, percent

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.views.audit import SuspectsView, SuspectView


def list_datasets(
    service: Service,
    status: Annotated[
        DatasetStatus | None,
        typer.Option(help="Only datasets of this status, including rejected versions older than the newest."),
    ] = None,
) -> None:
    """List the datasets that jobs can name, and bring your own."""
    service.print_list(service.client.datasets.list(status=status), shown.show_datasets)


@takes_upload_fields
def push(
    service: Service,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="A folder of class/image, an archive, .npz or Parquet; or a dataset of Hugging Face, hf:owner/name. "
            "Several, such as train.zip test.zip, go up together: the name of each says its split or class.",
        ),
    ],
    name: Annotated[
        str | None,
        typer.Option(help="Its name in jobs; by default derived from the path. Required with several paths."),
    ] = None,
    description: Annotated[str, typer.Option(help="Free text, shown with its name.")] = "",
    add_to: Annotated[
        str | None, typer.Option(metavar="DATASET", help="The new version has this dataset's images, and these.")
    ] = None,
    *,
    upload: dict[str, Any],
    detach: Annotated[bool, typer.Option("--detach", "--no-wait", help="Send it, print its id, and end.")] = False,
) -> Exit | None:
    """Upload images, wait until they are ingested, and show what the audit found."""
    from heldout.spec.dataset import DatasetSpec  # loading it takes longer than `--help`

    if name is None and add_to is not None and not add_to.startswith("ds_"):
        name = add_to.partition("@")[0]
    if len(paths) > 1 and name is None:
        raise Refused("--name is needed with several paths")
    fields = {"name": name or derive_name(paths[0]), "description": description, "adds_to": add_to, **upload}
    spec = check_spec(DatasetSpec, fields)
    client = service.client
    _say_what_is_hidden([path for path in paths if path.is_dir()])
    progress = is_terminal() and not service.as_json
    from heldout.client.image_sizes import SizesDiffer

    try:
        given = spec.model_dump(mode="json", exclude_none=True)
        dataset = client.datasets.push(paths, wait=False, progress=progress, **given).view
    except SizesDiffer as error:
        side = f"{error.side}x{error.side}"
        raise Refused(
            f"{error.found} Nothing was sent. Add `--resize {side}`; `--rule crop` cuts off edges instead of adding "
            "black bars."
        ) from None
    except NothingToPack as error:
        raise Refused(str(error)) from None
    if detach:
        service.print_id(dataset)
        return None
    return show_outcome(service, wait_for_ingest(client, dataset.id, quiet=service.as_json))


def resize(
    service: Service,
    dataset: Dataset,
    size: Annotated[str, typer.Argument(metavar="HxW", help="One size for all, such as 64x64.")],
    rule: Annotated[str, typer.Option(help="How an image gets that size: pad, crop or stretch.")] = "pad",
) -> Exit | None:
    """Have an upload that was rejected for the sizes of its images read again, without sending it again."""
    client = service.client
    begun = client.datasets.resize(dataset, **parse_size(size, rule)).view
    return show_outcome(service, wait_for_ingest(client, begun.id, quiet=service.as_json))


def show(service: Service, dataset: Dataset) -> None:
    """Show a dataset."""
    service.print(service.client.datasets.get(dataset).view, lambda found: print_blocks(lay_out_dataset(found).blocks))


def ledger(
    service: Service,
    dataset: Dataset,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many looks to list, newest first.")] = 20,
) -> None:
    """Show how often your jobs have looked at a dataset's validation and test labels."""
    service.print(service.client.datasets.ledger(dataset, limit=limit), shown.show_ledger)


def delete(service: Service, dataset: Dataset) -> None:
    """Delete a dataset that no job needs."""
    client = service.client
    found = client.datasets.get(dataset).view
    client.datasets.delete(found.id)
    service.print_deleted("dataset", found.id, f"{found.name}@{found.version}")


def _say_what_is_hidden(folders: Iterable[Path]) -> None:
    if hidden := [name for folder in folders for name in list_hidden(folder)]:
        more = f" and {len(hidden) - SHOWN_NAMES:,} more" if len(hidden) > SHOWN_NAMES else ""
        names = ", ".join(hidden[:SHOWN_NAMES])
        say(
            f"Not sent, as {'its name begins' if len(hidden) == 1 else 'their names begin'} with a dot: {names}{more}",
            file=sys.stderr,
        )


WAIT_S = 10
PAGE = 200
SHOWN_SUSPECTS = 20


def suspects(
    service: Service,
    dataset: Dataset,
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many images to list, the most probable first. Default: 20.")
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write image,label with the suggested labels; without --limit, of all images above 50%.",
        ),
    ] = None,
) -> Exit | None:
    """Find images whose label is probably wrong. The first call starts a search, which takes some minutes."""
    client = service.client
    shown = limit or SHOWN_SUSPECTS
    wanted = sys.maxsize if limit is None and csv_file is not None else shown
    found = _wait_for_search(client, dataset, min(wanted, PAGE), quiet=service.as_json)
    rows = list(found.data)
    page = found
    while page.next is not None and len(rows) < wanted:
        page = client.datasets.suspects(found.dataset.id, limit=min(PAGE, wanted - len(rows)), after=page.next)
        rows += page.data
    likely = [row for row in rows if _is_likely_wrong(row)]
    following = rows[shown - 1].rank if len(rows) > shown else page.next
    found = found.model_copy(update={"data": rows[:shown], "has_more": following is not None, "next": following})
    is_written = csv_file is not None and found.verdict == "can_tell"
    if csv_file is not None and is_written:
        with csv_file.open("w", encoding="utf-8", newline="") as opened:
            lines = csv.writer(opened, lineterminator="\n")
            lines.writerow(("image", "label"))
            lines.writerows((name_image(row), row.suggested) for row in likely)
    service.print(found, lambda page: _show_suspects(page, csv_file, len(likely)))
    # No one should apply this list without looking at it, so a user who asked for the file must notice.
    is_refused = csv_file is not None and found.status == "ready" and not is_written
    return Exit.FAILED if found.status == "failed" or is_refused else None


def _wait_for_search(client: Client, dataset: str, limit: int, *, quiet: bool) -> SuspectsView:
    """Return the first page after the search has ended. A search that failed before is tried again."""
    began = time.monotonic()
    found = client.datasets.suspects(dataset, limit=limit, again=True)
    later = "Run the same command again to see its findings."
    with explain_interrupt("The search", later), show_waiting(quiet=quiet) as tell:
        while found.status in {"queued", "running"}:
            what = "training networks that judge the labels" if found.status == "running" else "waiting for a worker"
            tell(f"{what}: {format_duration(time.monotonic() - began)}")
            found = client.datasets.suspects(found.dataset.id, limit=limit, wait_s=WAIT_S)
    return found


def _show_suspects(found: SuspectsView, csv_file: Path | None, likely: int) -> None:
    say(found.explanation)
    if found.status == "failed" or not found.data:
        return
    say("")
    if found.verdict != "can_tell":
        _show_oddest(found, csv_file)
        return
    for split, counted in (found.splits or {}).items():
        say(f"{split}: {counted.count:,} of {counted.images:,} ({counted.low:,} to {counted.high:,})")
    say("")
    rows = [
        (name_image(suspect), suspect.split, suspect.label, suspect.suggested, percent(suspect.probability or 0, 0))
        for suspect in found.data
    ]
    print_table(("IMAGE", "SPLIT", "LABEL", "MORE LIKELY", "PROBABILITY"), rows, right=(4,))
    say("")
    name = f"{found.dataset.name}@{found.dataset.version}"
    if found.has_more:
        say("There are more; --limit shows them.")
    if csv_file is None:
        say(f"`heldout datasets suspects {name} --csv fixes.csv` writes these labels down for you to correct.")
    else:
        say(
            f"{likely:,} labels are in {csv_file}: those above 50%. "
            "Delete the lines that are wrong, then: "
            f"`heldout datasets fix {name} --relabel {csv_file}`"
        )


def _show_oddest(found: SuspectsView, csv_file: Path | None) -> None:
    """Print images that merely stand out, without probabilities, and without a file that could be applied unread."""
    rows = [(name_image(suspect), suspect.split, suspect.label, suspect.suggested) for suspect in found.data]
    print_table(("IMAGE", "SPLIT", "LABEL", "LOOKS LIKE"), rows)
    if csv_file is not None:
        say("")
        say(f"{csv_file} was not written: the search cannot tell which labels are wrong.")


def _is_likely_wrong(suspect: SuspectView) -> bool:
    return (suspect.probability or 0) > 0.5


def name_image(suspect: SuspectView) -> str:
    """Return the image's name for people: its file, or its position."""
    return str(suspect.index) if suspect.member is None else suspect.member


app = Group(list_datasets, "List datasets, and bring your own images.")
app.add(push, resize, show, auditing.audit, ledger, suspects, delete, fix, different)
