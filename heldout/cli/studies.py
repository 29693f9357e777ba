"""`heldout studies`: what studies have found."""

import typer

from heldout.cli import study_report
from heldout.cli.command import ends_with_code

app = typer.Typer(help="Show what studies have found.", no_args_is_help=True)
app.command()(ends_with_code(study_report.report))
