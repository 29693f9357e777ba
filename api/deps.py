"""What endpoints ask for: the services, a session whose commit precedes the answer, what follows a commit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import structlog
from fastapi import Depends, Path, Query, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query as QueryParameter
from fastapi.routing import APIRoute

from api.services import Services
from heldout.errors import InvalidParameter, JobNotFound
from models.database import Session
from models.ids import is_id
from models.tables import JobRow

log = structlog.get_logger("heldout.api")


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


@dataclass
class Transaction:
    """A session, and what is to happen once it is committed."""

    session: Session
    effects: list[Callable[[], None]] = field(default_factory=list)


def _transaction(services: ServicesDep) -> Iterator[Transaction]:
    with services.database.write() as session:
        transaction = Transaction(session)
        yield transaction
    for effect in transaction.effects:
        try:
            effect()
        except Exception:
            # The request did what it says; the reconciler makes good what is missing here.
            log.exception("an effect after the commit failed")


def _reading(services: ServicesDep) -> Iterator[Session]:
    with services.database.read() as session:
        yield session


# With the scope "function" the exit, and so the commit, comes before the response is sent.
_TransactionDep = Annotated[Transaction, Depends(_transaction, scope="function")]


async def _session(transaction: _TransactionDep) -> Session:
    return transaction.session


SessionDep = Annotated[Session, Depends(_session, scope="function")]
ReadSessionDep = Annotated[Session, Depends(_reading, scope="function")]

AfterCommit = Callable[[Callable[[], None]], None]


async def _after_commit(transaction: _TransactionDep) -> AfterCommit:
    return transaction.effects.append


AfterCommitDep = Annotated[AfterCommit, Depends(_after_commit, scope="function")]

Announce = Callable[[JobRow], None]


async def _announce(transaction: _TransactionDep, services: ServicesDep) -> Announce:
    def announce(job: JobRow) -> None:
        job_id, device = job.id, job.device
        transaction.effects.append(lambda: services.publisher.publish(job_id, device))

    return announce


AnnounceDep = Annotated[Announce, Depends(_announce, scope="function")]


async def _job_id(job_id: Annotated[str, Path(description="An id of a job, `job_…`.")]) -> str:
    """Only what has the form of an id is looked up."""
    if not is_id("job", job_id):
        raise JobNotFound(job_id)
    return job_id


JobId = Annotated[str, Depends(_job_id)]


def cursor(prefix: str) -> Any:
    """The parameter `after`; documented by its form, and refused by the routes with a code of its own."""
    return Query(description="`next` of the page before.", json_schema_extra={"pattern": f"^{prefix}_[0-9a-z]{{26}}$"})


async def only_known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not document, and NUL in those that it does."""
    route = request.scope["route"]
    known, families = _parameters_of(route)
    for name, value in request.query_params.multi_items():
        family = name.partition("[")[0] if name.endswith("]") else None
        if name not in known and family not in families:
            takes = ", ".join(sorted(known | {f"{one}[…]" for one in families})) or "none"
            raise InvalidParameter(f"There is no query parameter {name[:64]!r} here; this route takes {takes}.")
        if "\0" in name or "\0" in value:
            raise InvalidParameter(f"`{name[:64]}` must not hold NUL.")


def _parameters_of(route: APIRoute) -> tuple[set[str], set[str]]:
    """Names of query parameters, and names of those that are written `name[key]=value`."""
    known = {field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, QueryParameter)}
    extra = (route.openapi_extra or {}).get("parameters", [])
    return known, {one["name"] for one in extra if one.get("style") == "deepObject"}
