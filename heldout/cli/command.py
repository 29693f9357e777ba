"""Parts that commands share: options, groups, the service, and exit codes."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property, wraps
from inspect import Parameter, signature
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import typer
from typer.core import TyperGroup

from heldout.cli.outcome import Exit, Refused, report
from heldout.cli.references import DATASET, JOB, MODEL, STUDY, Kind, Names, find_ids
from heldout.cli.screen import print_json, say
from heldout.client.failures import ApiProblem, NoService
from heldout.metrics import Measure

if TYPE_CHECKING:
    from heldout.client.client import Client

P = ParamSpec("P")
Found = TypeVar("Found")

# Completions of ids and names in a shell.
OFFERED = 20
_NOT_PLAIN = re.compile(r"[^\w ,.@-]")
# The user is waiting for the answer to a Tab.
PATIENCE_S = 1.0


def complete(*kinds: Kind) -> "Callable[[str], list[tuple[str, str]]]":
    """Make the completion of ids: the newest things of these kinds, with names and states; of datasets, their names."""

    def list_offered(incomplete: str) -> list[tuple[str, str]]:
        return [named for kind in kinds for named in _list_offered(incomplete, kind)]

    return list_offered


def _list_offered(incomplete: str, kind: Kind) -> list[tuple[str, str]]:
    """Return nothing if no service answers: pressing Tab must not print an error."""
    from heldout.client.client import Client

    try:
        with Client(patience_s=PATIENCE_S) as client:
            newest = list(islice(getattr(client, kind.plural).list(), OFFERED))
    except (ApiProblem, NoService, OSError):
        return []
    if kind is DATASET:
        names = {each.name: each.status for each in newest}
    else:
        names = {each.id: f"{each.name}, {each.status}" for each in newest}
    # A shell evaluates completions, so names must not contain anything that it would interpret.
    return [(name, _NOT_PLAIN.sub(" ", about)) for name, about in names.items() if name.startswith(incomplete)]


def make_argument(metavar: str, help: str, *kinds: Kind) -> Any:
    """Make an argument that names something, with completion of what it may name."""
    return typer.Argument(metavar=metavar, help=help, show_default=False, autocompletion=complete(*kinds))


Home = Annotated[
    Path | None, typer.Option("--home", metavar="DIR", help="Folder of `heldout up`; else HELDOUT_URL or HELDOUT_HOME.")
]
JobId = Annotated[str, Names(JOB), make_argument("JOB", "A job's id, the beginning of one, its name, or last.", JOB)]
StudyId = Annotated[
    str, Names(STUDY), make_argument("STUDY", "A study's id, the beginning of one, its name, or last.", STUDY)
]
Dataset = Annotated[
    str,
    Names(DATASET),
    make_argument("DATASET", "A dataset's name, name@version, its id, the beginning of one, or last.", DATASET),
]
ModelId = Annotated[
    str, Names(MODEL), make_argument("MODEL", "A model's id, the beginning of one, its name, or last.", MODEL)
]
# Options of commands that start work and follow it.
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it starts.")]
Detach = Annotated[bool, typer.Option("--detach", "--no-wait", help="Order it, print its id, and end.")]
Objective = Annotated[
    Measure | None,
    typer.Option(help="The measure of validation that decides; by default, a cure may show in either."),
]
CostsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="For --objective cost: a JSON file with a row of costs for each label, and a column for each answer.",
    ),
]
GroupColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="For --objective worst_group: the column whose values are the groups."),
]
Margin = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        min=0.01,
        max=50,
        help="Ask whether each is as good instead of better, and by how many points it may be worse.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]


def read_costs(file: Path | None) -> list[list[float]] | None:
    """Read the table of costs of a JSON file. Raises Refused."""
    if file is None:
        return None
    try:
        found: list[list[float]] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"{file}: expected a JSON file with a list of rows of costs ({error}).") from error
    return found


class Service:
    """The service that a command asks, and the form in which it prints the answers.

    A command whose parameter `service` is one has the options `--json` and `--home`.
    """

    def __init__(self, home: Path | None, as_json: bool = False) -> None:
        self.home = home
        self.as_json = as_json
        self.open_clients = ExitStack()

    @cached_property
    def client(self) -> "Client":
        """A client of the service that the command line or the environment names. It stays open until the end."""
        from heldout.client.client import Client  # loading its views takes longer than `--help`

        return self.open_clients.enter_context(Client(home=self.home))

    def print(self, found: Found, show: Callable[[Found], object], *, one_line: bool = False) -> None:
        """Print a view for people, or as the JSON that the API would answer."""
        print_json(found, one_line=one_line) if self.as_json else show(found)

    def print_id(self, ordered: Any) -> None:
        """Print what was ordered, of which people need the id."""
        self.print(ordered, lambda view: say(view.id))

    def print_list(self, found: Iterable[Any], show: Callable[[Any], None], *, limit: int | None = None) -> None:
        """Print views, or those of handles."""
        listed = [getattr(each, "view", each) for each in islice(found, None if limit is None else limit + 1)]
        has_more = limit is not None and len(listed) > limit
        if self.as_json:
            print_json({"object": "list", "data": listed[:limit], "has_more": has_more})
            return
        show(listed[:limit])
        if has_more:
            say("There are more; --limit shows them.", file=sys.stderr)

    def print_deleted(self, kind: str, id_: str, name: str | None = None) -> None:
        self.print({"id": id_, "object": kind, "deleted": True}, lambda _: say(f"{name or id_} deleted"))


# The options of commands that ask a service, after their own.
_OF_SERVICES = [
    Parameter("as_json", Parameter.KEYWORD_ONLY, default=False, annotation=AsJson),
    Parameter("home", Parameter.KEYWORD_ONLY, default=None, annotation=Home),
]


def ends_with_code(function: Callable[..., Exit | None]) -> Callable[..., None]:
    """Run the command, and end with its exit code; every expected failure becomes a message and an exit code."""
    own = signature(function, eval_str=True)
    options = dict(own.parameters)
    asks = options.pop("service", None) is not None

    @wraps(function)
    def run_and_report(**given: Any) -> None:
        service = Service(given.get("home"), given.pop("as_json", False))
        if asks:
            given["service"] = service
            del given["home"]
        try:
            with service.open_clients:
                found = find_ids(function, given, lambda: nullcontext(service.client))
                code = function(**found) or Exit.SUCCEEDED
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = Exit.BROKEN_PIPE
        except (ApiProblem, NoService, Refused, OSError) as failure:
            code = report(failure, as_json=service.as_json)
        except typer.Abort:  # Ctrl-C or Ctrl-D in answer to a question
            say("", file=sys.stderr)
            code = Exit.INTERRUPTED
        except KeyboardInterrupt:
            code = Exit.INTERRUPTED
        raise typer.Exit(code)

    parameters = [*options.values(), *(_OF_SERVICES if asks else [])]
    run_and_report.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return run_and_report


class Group(typer.Typer):
    """Commands that share their first word, such as `heldout studies`; the word alone lists the things."""

    def __init__(self, list_them: Callable[..., None], about: str, cls: type[TyperGroup] = TyperGroup) -> None:
        super().__init__(help=about, invoke_without_command=True, cls=cls)
        run = ends_with_code(list_them)

        def begin(context: typer.Context, **given: Any) -> None:
            if context.invoked_subcommand is None:
                run(**given)
            else:
                # Options before a command, as in `heldout studies --home DIR std_…`, apply to it as well.
                shared = {name: given[name] for name in ("home", "as_json") if given[name]}
                context.default_map = {context.invoked_subcommand: shared}

        own, options = signature(begin, eval_str=True), signature(run)
        begin.__doc__ = list_them.__doc__
        begin.__signature__ = own.replace(parameters=[own.parameters["context"], *options.parameters.values()])  # type: ignore[attr-defined]
        self.callback()(begin)

    def add(self, *commands: Callable[..., Exit | None]) -> None:
        """Return the commands below the word, in the order of `--help`."""
        for command in commands:
            self.command()(ends_with_code(command))


@contextmanager
def explain_interrupt(what: str, how_to_see: str, now: str | None = None) -> Iterator[None]:
    """If following is interrupted, say that the work continues and how to watch it again.

    Args:
        what: the subject of a sentence, such as `The job`.
        now: the rest of that sentence if the work ends with the command, such as `has stopped`.
    """
    try:
        yield
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # below the ^C
        say(f"{what} {now or 'continues'}. {how_to_see}", file=sys.stderr)
        raise
    except NoService as failure:
        raise NoService(f"{failure} {what} {now or 'may still be running'}. {how_to_see}") from None
