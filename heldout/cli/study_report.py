"""`heldout studies report`: a study in plain words, on the terminal or as a page."""

from pathlib import Path
from typing import Annotated

import typer

from heldout.cli.command import AsJson, Home, service
from heldout.cli.outcome import Refused
from heldout.cli.screen import print_json, say


def report(
    study_id: Annotated[str, typer.Argument(metavar="ID", help="A study's id, std_….", show_default=False)],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as one page of HTML, to open, to print or to send.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Report a study in plain words: what helped, by how much, whether it is sure, what to do now."""
    if html is not None and as_json:
        raise Refused("--json and --html are two forms of one report: give one of them.")
    with service(home) as client:
        if as_json:
            print_json(client.study_report(study_id))
        elif html is not None:
            html.write_text(client.study_report_text(study_id, "text/html"), encoding="utf-8")
            say(f"{html}: {html.stat().st_size:,} bytes")
        else:
            for line in client.study_report_text(study_id).splitlines():
                say(line)
