"""`heldout datasets suspects`: images whose label is probably wrong."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import AsJson, Dataset, Home, goes_on, open_service
from heldout.cli.outcome import Exit
from heldout.cli.screen import print_json, print_table, say, show_waiting
from heldout.words import percent

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.views.audit import SuspectsView, SuspectView

WAIT_S = 10
PAGE = 200


def suspects(
    dataset: Dataset,
    limit: Annotated[int, typer.Option(min=1, help="How many images to list, the most probable first.")] = 20,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write image,label with the suggested labels.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> Exit | None:
    """Find images whose label is probably wrong. The first call starts a search, which takes some minutes."""
    with open_service(home) as client:
        found = _wait_for_search(client, dataset, min(limit, PAGE), quiet=as_json)
        rows = list(found.data)
        page = found
        while page.next is not None and len(rows) < limit:
            page = client.datasets.suspects(found.dataset.id, limit=min(PAGE, limit - len(rows)), after=page.next)
            rows += page.data
    found = found.model_copy(update={"data": rows, "has_more": page.has_more, "next": page.next})
    is_written = csv_file is not None and found.verdict == "can_tell"
    if csv_file is not None and is_written:
        _write_csv(csv_file, rows)
    if as_json:
        print_json(found)
    else:
        _show(found, csv_file)
    # No one should apply this list without looking at it, so a user who asked for the file must notice.
    is_refused = csv_file is not None and found.status == "ready" and not is_written
    return Exit.FAILED if found.status == "failed" or is_refused else None


def _wait_for_search(client: Client, dataset: str, limit: int, *, quiet: bool) -> SuspectsView:
    """Return the first page after the search has ended. A search that failed before is tried again."""
    began = time.monotonic()
    found = client.datasets.suspects(dataset, limit=limit, again=True)
    with goes_on("The search", "Run the same command again to see its findings."), show_waiting(quiet=quiet) as tell:
        while found.status in {"queued", "running"}:
            what = "training networks that judge the labels" if found.status == "running" else "waiting for a worker"
            tell(f"{what}: {time.monotonic() - began:.0f} s")
            found = client.datasets.suspects(found.dataset.id, limit=limit, wait_s=WAIT_S)
    return found


def _show(found: SuspectsView, csv_file: Path | None) -> None:
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
            f"{sum(map(_is_likely_wrong, found.data)):,} labels are in {csv_file}: those above 50%. "
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


def _write_csv(file: Path, rows: list[SuspectView]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        lines = csv.writer(opened, lineterminator="\n")
        lines.writerow(("image", "label"))
        lines.writerows((name_image(row), row.suggested) for row in rows if _is_likely_wrong(row))


def _is_likely_wrong(suspect: SuspectView) -> bool:
    return (suspect.probability or 0) > 0.5


def name_image(suspect: SuspectView) -> str:
    """Return the image's name for people: its file, or its position."""
    return str(suspect.index) if suspect.member is None else suspect.member
