"""Finds a job, dataset, study or model by its id, a unique prefix of the id, its name, or `last`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from heldout.cli.outcome import Refused
from heldout.client.failures import make_problem
from heldout.errors import DatasetNotFound, HeldoutError, JobNotFound, ModelNotFound, StudyNotFound

if TYPE_CHECKING:
    from heldout.client.client import Client

LAST = "last"
ULID_CHARACTERS = 26
# Matches that are listed if a name or prefix is ambiguous; longer lists do not help.
SHOWN_CANDIDATES = 5


@dataclass(frozen=True)
class Kind:
    """A kind of thing that an id can name.

    prefix: of its ids. show: the command that shows one. not_found: the service's refusal of an unknown id.
    listed: handles that a text may mean, or all if there is no text, newest first.
    """

    name: str
    plural: str
    prefix: str
    show: str
    not_found: type[HeldoutError]
    listed: Callable[[Client, str | None], Iterable[Any]]


def _list_jobs(client: Client, text: str | None) -> Iterable[Any]:
    """Without a text, list only jobs that the user queued, because studies queue many."""
    return client.jobs.list(study="none") if text is None else client.jobs.list(search=text)


JOB = Kind("job", "jobs", "job_", "show", JobNotFound, _list_jobs)
STUDY = Kind("study", "studies", "std_", "studies show", StudyNotFound, lambda client, _: client.studies.list())
DATASET = Kind("dataset", "datasets", "ds_", "datasets show", DatasetNotFound, lambda client, _: client.datasets.list())
MODEL = Kind("model", "models", "mod_", "models show", ModelNotFound, lambda client, _: client.models.list())
KINDS = (JOB, STUDY, DATASET, MODEL)


def may_be_path(text: str) -> bool:
    """Return whether a text that may also be a name is a path: it exists, or it looks like one."""
    return Path(text).exists() or os.sep in text or Path(text).suffix[1:].isalpha()


class Names:
    """Marks a parameter of a command that names something: `Annotated[str, Names(JOB), typer.Argument(…)]`.

    Args:
        kinds: what it may name.
        is_file: whether a text is something else, such as a path, and stays unchanged.
    """

    def __init__(self, *kinds: Kind, is_file: Callable[[str], bool] = lambda _: False) -> None:
        self.kinds = kinds
        self.is_file = is_file


def find_ids(function: Callable[..., Any], given: Mapping[str, Any], open_client: Callable[[], Any]) -> dict[str, Any]:
    """Replace each text that names something by an id in a command's arguments.

    Args:
        function: the command, whose annotations say which parameters those are.
        given: its arguments by name.
        open_client: opens a client of the service, which is only used for texts that are not ids.
    Raises:
        Refused: a text names something else, or several things.
        ApiProblem: it names nothing.
    """
    names = {
        name: marks[0]
        for name, hint in get_type_hints(function, include_extras=True).items()
        if (marks := [mark for mark in _list_metadata(hint) if isinstance(mark, Names)]) and given.get(name)
    }
    found = dict(given)
    for name, mark in names.items():
        texts = given[name] if isinstance(given[name], list) else [given[name]]
        ids = [_find_id(text, mark, open_client) for text in texts]
        found[name] = ids if isinstance(given[name], list) else ids[0]
    return found


def _list_metadata(hint: Any) -> list[Any]:
    """Return the metadata that `Annotated` adds to a type, and to its parts."""
    parts = get_args(hint)
    own = list(hint.__metadata__) if get_origin(hint) is Annotated else []
    return own + [mark for part in parts if get_origin(part) is not None for mark in _list_metadata(part)]


def _find_id(text: str, names: Names, open_client: Callable[[], Any]) -> str:
    if names.is_file(text):
        return text
    own = next((kind for kind in KINDS if text.startswith(kind.prefix)), None)
    if own is not None and len(text) == len(own.prefix) + ULID_CHARACTERS:
        if own not in names.kinds:
            raise Refused(_describe_other_kind(text, own, names.kinds))
        return text
    # The service itself knows names and versions of datasets.
    if names.kinds == (DATASET,) and text != LAST and own is None:
        return text
    with open_client() as client:
        return _look_up(client, text, names.kinds)


def _look_up(client: Client, text: str, kinds: tuple[Kind, ...]) -> str:
    if text == LAST:
        newest = [found.view for kind in kinds for found in islice(kind.listed(client, None), 1)]
        if not newest:
            raise Refused(f"There is no {_join(kinds)} yet.")
        return str(max(newest, key=lambda found: found.created_at).id)
    matches = _list_matches(client, text, kinds)
    if len(matches) == 1:
        return str(matches[0].id)
    if matches:
        listed = ", ".join(f"{found.id} ({found.name}, {found.status})" for found in matches[:SHOWN_CANDIDATES])
        more = f" and {len(matches) - SHOWN_CANDIDATES:,} more" if len(matches) > SHOWN_CANDIDATES else ""
        plural = " or ".join(kind.plural for kind in kinds)
        raise Refused(f"{len(matches):,} {plural} match {text!r}. Give the id of one: {listed}{more}.")
    for other in (kind for kind in KINDS if kind not in kinds):
        for found in _list_matches(client, text, (other,)):
            raise Refused(_describe_other_kind(found.id, other, kinds))
    [first, *_] = kinds
    commands = " and ".join(f"`heldout {kind.plural}`" for kind in kinds)
    detail = f"No {_join(kinds)} has the id or the name {text[:80]!r}. {commands} list{'s' * (len(kinds) == 1)} them."
    raise make_problem(first.not_found.code, first.not_found.status, first.not_found.title, detail)


def _list_matches(client: Client, text: str, kinds: tuple[Kind, ...]) -> list[Any]:
    """Return views with this name, or with this prefix of the id."""
    listed = [handle.view for kind in kinds for handle in kind.listed(client, text)]
    return [found for found in listed if found.name == text or found.id.startswith(text)]


def _describe_other_kind(id_: str, own: Kind, wanted: tuple[Kind, ...]) -> str:
    return f"{id_} is a {own.name}, and a {_join(wanted)} is needed. `heldout {own.show} {id_}` shows it."


def _join(kinds: tuple[Kind, ...]) -> str:
    return " or ".join(kind.name for kind in kinds)
