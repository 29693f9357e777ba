"""What endpoints ask for: the services, a session whose commit precedes the answer, what follows a commit."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator

from api.http.context import FromVisit, Visit
from api.http.services import Services
from heldout.errors import JobNotFound
from models.database import Session
from models.ids import is_id
from models.wake import WakeUp


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


SessionDep = Annotated[Session, FromVisit(lambda visit: visit.writing, in_thread=True)]
ReadSessionDep = Annotated[Session, FromVisit(lambda visit: visit.reading, in_thread=True)]

AfterCommit = Callable[[Callable[[], None]], None]
AfterCommitDep = Annotated[AfterCommit, FromVisit(lambda visit: visit.effects.append, in_thread=True)]

Announce = Callable[[WakeUp], None]


def _announce(visit: Visit) -> Announce:
    return lambda wake_up: visit.effects.append(lambda: visit.services.publisher.publish(wake_up))


AnnounceDep = Annotated[Announce, FromVisit(_announce, in_thread=True)]


def _with_the_form_of_an_id(job_id: str) -> str:
    """Only that is looked up."""
    if not is_id("job", job_id):
        raise JobNotFound(job_id)
    return job_id


JobId = Annotated[str, Path(description="An id of a job, `job_…`."), AfterValidator(_with_the_form_of_an_id)]


def cursor(prefix: str) -> Any:
    """The parameter `after`; documented by its form, and refused by the routes with a code of its own."""
    return Query(description="`next` of the page before.", json_schema_extra={"pattern": f"^{prefix}_[0-9a-z]{{26}}$"})
