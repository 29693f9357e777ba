"""`heldout plot`: a job's curves or its gap as a picture, on the terminal or in a file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from heldout.cli.command import AsJson, Home, JobId, service
from heldout.cli.outcome import Refused
from heldout.cli.screen import print_json, say


class What(StrEnum):
    """What is drawn."""

    HISTORY = "history"
    GAP = "gap"


def plot(
    job_id: JobId,
    what: Annotated[
        What, typer.Option(help="The curves of training and validation, or what lies between training and test.")
    ] = What.HISTORY,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write FILE.svg, FILE.html or FILE.png instead."),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Draw a job's curves, or its gap."""
    from heldout.pictures.picture import SUFFIXES, NoPng

    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise Refused(f"-o {output}: expected a name that ends in {', '.join(SUFFIXES)}.")
    with service(home) as client:
        picture = client.job(job_id).plot(what.value)
    if output is None:
        if as_json:
            print_json({"title": picture.title, "svg": picture.svg})
            return
        for line in picture.text.split("\n"):  # `say` shows control characters, which a name may have, as escapes
            say(line)
        return
    try:
        picture.save(output)
    except NoPng as error:
        raise Refused(str(error)) from None
    print_json({"title": picture.title, "file": str(output)}) if as_json else say(str(output))
