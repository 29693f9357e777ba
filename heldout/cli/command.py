"""What every command shares: its options, its service, and how it ends."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

import typer

from heldout.cli import completion
from heldout.cli.outcome import Exit, Refused, report
from heldout.cli.screen import print_json, say
from heldout.failures import ApiProblem, NoService
from heldout.locate import locate

if TYPE_CHECKING:
    from heldout.client import Client

P = ParamSpec("P")

Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Folder of `heldout up`; else HELDOUT_URL or HELDOUT_HOME.")
]
JobId = Annotated[
    str,
    typer.Argument(metavar="ID", help="A job's id, job_….", show_default=False, autocompletion=completion.job_ids),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


def ends_with_code(function: Callable[P, Exit | None]) -> Callable[P, None]:
    """The command, ending with its exit code; every expected failure becomes a message and an exit code."""

    @wraps(function)
    def reported(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json"))
        try:
            code = function(*args, **kwargs) or Exit.SUCCEEDED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = Exit.BROKEN_PIPE
        except (ApiProblem, NoService, Refused, OSError) as failure:
            code = report(failure, as_json=as_json)
        except KeyboardInterrupt:
            code = Exit.INTERRUPTED
        raise typer.Exit(code)

    return reported


def pass_on(context: typer.Context, *, home: Path | None, as_json: bool) -> None:
    """Let options that stand before a command, as in `heldout studies --home DIR std_…`, hold for it as well."""
    given = {name: value for name, value in (("home", home), ("as_json", as_json)) if value}
    context.default_map = {context.invoked_subcommand or "": given}


@contextmanager
def service(home: Path | None) -> Iterator["Client"]:
    """A client of the service that the command line or the environment names."""
    from heldout.client import Client  # its views take longer to load than `--help` takes

    found = locate(home)
    with Client(found.url, found.api_key) as client:
        yield client


def print_list(found: list[Any], as_json: bool, show_them: Callable[[Any], None], *, has_more: bool = False) -> None:
    """Print a list as a table, or as the JSON that the API would answer."""
    if as_json:
        print_json({"object": "list", "data": found, "has_more": has_more})
        return
    show_them(found)
    if has_more:
        say("There are more; --limit shows them.", file=sys.stderr)
