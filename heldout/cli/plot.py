"""`heldout plot`: a job's curves, gap or confusion, or a study's comparison, on the terminal or in a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heldout.cli.command import AsJson, Home, complete_subject_ids, open_service
from heldout.cli.outcome import Refused
from heldout.cli.references import JOB, STUDY, Names
from heldout.cli.results import Split
from heldout.cli.screen import print_json, say

if TYPE_CHECKING:
    from heldout.client.client import Client
    from heldout.pictures.picture import Picture


class What(StrEnum):
    """The drawings of a job."""

    HISTORY = "history"
    GAP = "gap"
    CONFUSION = "confusion"


def plot(
    subject: Annotated[
        str,
        Names(JOB, STUDY),
        typer.Argument(
            metavar="JOB|STUDY",
            help="A job or a study: its id, the beginning of one, its name, or last.",
            show_default=False,
            autocompletion=complete_subject_ids,
        ),
    ],
    what: Annotated[
        What | None,
        typer.Option(
            help="For a job: the curves of training and validation (the default), the gap from training "
            "to test, or the confusion matrix.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[Split | None, typer.Option(help="The split of the confusion; by default test.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write FILE.svg, FILE.html or FILE.png instead."),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Draw a job's curves, gap or confusion, or what the remedies of a study change."""
    from heldout.pictures.picture import SUFFIXES, NoPng

    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise Refused(f"-o {output}: expected a name that ends in {', '.join(SUFFIXES)}.")
    with open_service(home) as client:
        picture = _draw_picture(client, subject, what, split)
    if output is None:
        if as_json:
            print_json({"title": picture.title, "svg": picture.svg})
            return
        for line in picture.text.split("\n"):  # `say` escapes control characters, which a name may have
            say(line)
        return
    try:
        picture.save(output)
    except NoPng as error:
        raise Refused(str(error)) from None
    print_json({"title": picture.title, "file": str(output)}) if as_json else say(str(output))


def _draw_picture(client: Client, subject: str, what: What | None, split: Split | None) -> Picture:
    from heldout.pictures.confusion import NotMeasured

    if subject.startswith("std_"):
        if what is not None or split is not None:
            raise Refused(f"--what and --split are for jobs, and {subject} is a study.")
        return client.studies.get(subject).plot()
    if split is not None and what is not What.CONFUSION:
        raise Refused("--split says whose confusion is drawn: give --what confusion too.")
    try:
        return client.jobs.get(subject).plot((what or What.HISTORY).value, split=split)
    except NotMeasured as error:
        raise Refused(str(error)) from None
