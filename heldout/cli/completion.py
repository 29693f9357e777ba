"""What a shell offers where an id or a name is wanted: the newest ones, as the service has them."""

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from heldout.failures import ApiProblem, NoService

if TYPE_CHECKING:
    from heldout.client import Client

OFFERED = 20
_NOT_PLAIN = re.compile(r"[^\w ,.@-]")
# Somebody waits for the answer to a Tab.
PATIENCE_S = 1.0


def job_ids(incomplete: str) -> list[tuple[str, str]]:
    """Ids of the newest jobs, with what they are called and how they are."""
    return _offered(incomplete, lambda client: ((job.id, f"{job.name}, {job.status}") for job in client.jobs()))


def study_ids(incomplete: str) -> list[tuple[str, str]]:
    return _offered(incomplete, lambda client: ((one.id, f"{one.name}, {one.status}") for one in client.studies()))


def dataset_names(incomplete: str) -> list[tuple[str, str]]:
    return _offered(incomplete, lambda client: ((one.name, one.status) for one in client.datasets()))


def _offered(incomplete: str, listed: "Callable[[Client], Iterator[tuple[str, str]]]") -> list[tuple[str, str]]:
    """Nothing where no service answers: a Tab is no command."""
    from heldout.client import Client
    from heldout.locate import locate

    try:
        found = locate()
        with Client(found.url, found.api_key, patience_s=PATIENCE_S) as client:
            newest = list(islice(listed(client), OFFERED))
    except (ApiProblem, NoService, OSError):
        return []
    # A shell evaluates what it is offered: nothing in a name may mean something to it.
    return list({one: _NOT_PLAIN.sub(" ", about) for one, about in newest if one.startswith(incomplete)}.items())
