"""The command line `heldout` and its commands."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from heldout import __version__
from heldout.cli import (
    account,
    auditing,
    comparing,
    curing,
    datasets,
    diagnosing,
    export,
    host_commands,
    jobs,
    judging,
    models,
    results,
    starting,
    studies,
    trackers,
    training,
)
from heldout.cli.command import Home, ends_with_code
from heldout.cli.outcome import Refused
from heldout.cli.screen import say


def mcp(home: Home = None) -> None:
    """Serve coding assistants by the Model Context Protocol. It uses standard input and output until they close."""
    try:
        from heldout.cli.mcp_server.server import make_server
    except ModuleNotFoundError as error:
        if error.name != "mcp":
            raise
        raise Refused("`heldout mcp` needs the package mcp: pip install mcp.") from None
    make_server(home).run("stdio")


UsageError: Any = typer.BadParameter.__base__  # typer only exports subclasses of this class

# The commands, in the order of `heldout --help`.
COMMANDS = (
    training.train,
    training.watch,
    jobs.jobs,
    jobs.show,
    jobs.metrics,
    jobs.events,
    jobs.queue,
    diagnosing.diagnose,
    diagnosing.diagnoses,
    auditing.check_data,
    results.plot,
    curing.cure,
    curing.curve,
    comparing.compare,
    judging.judge,
    starting.init,
    results.confusion,
    results.memorized,
    results.explain,
    results.model,
    export.export,
    export.card,
    results.predictions,
    results.predict,
    trackers.tensorboard,
    trackers.mlflow,
    mcp,
    models.evaluate,
    jobs.cancel,
    jobs.pause,
    jobs.resume,
    jobs.retry,
    jobs.change,
    jobs.delete,
    account.activity,
)

_ABOUT = """Train image classifiers as a service, and learn why test results are worse than training results.

\b
To get started:
  heldout up                                 run the service here; leave it running
  heldout train --preset overfit             train a small network on bundled digits
  heldout diagnose JOB                       why it is worse on unseen images, what to try
  heldout train --from JOB --remedy dropout  try one remedy, and compare
  heldout cure JOB                           measure which remedies help, beyond chance
  heldout datasets push FOLDER               bring your own images"""


class _SuggestsOptions(TyperGroup):
    """Suggest the option that was meant if one is misspelled."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UsageError as error:
            error.message = error.message.removeprefix("Value error, ")  # of pydantic
            if name := getattr(error, "option_name", None) if hasattr(error, "possibilities") else None:
                from heldout.spec.field_errors import (  # load longer than `--help` takes
                    ask_whether_meant,
                    suggest_names,
                )

                error.possibilities = None
                known = (option for parameter in error.ctx.command.params for option in parameter.opts)
                error.message += "." + ask_whether_meant(suggest_names(name, known))
            raise


app = typer.Typer(
    cls=_SuggestsOptions,
    help=_ABOUT,
    epilog="Exit codes: 0 succeeded, 1 failed, 2 wrong usage or refused, 3 cancelled, 4 no service, or key refused, "
    "130 interrupted. Of judge: 0 better, 10 as good, 11 worse, 12 cannot tell, 13 looks spent.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in COMMANDS:
    app.command()(ends_with_code(_command))
app.add_typer(datasets.app, name="datasets")
app.add_typer(models.app, name="models")
app.add_typer(studies.app, name="studies")
app.add_typer(account.webhooks_app, name="webhooks")


def _add_server_command(name: str, about: str) -> None:
    group, _, last = name.rpartition(" ")

    @(models.app if group == "models" else app).command(last, help=about, add_help_option=False)
    def become() -> None:
        raise typer.Exit(host_commands.start(sys.argv[1:]))


for _name, _about in host_commands.COMMANDS.items():
    _add_server_command(_name, _about)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"heldout {__version__}")
        raise typer.Exit


@app.callback()
def heldout(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Train image classifiers as a service, and learn why test results are worse than training results."""
