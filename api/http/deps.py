"""Dependencies of endpoints: what the app shares, database sessions, what to do after the commit, ids and cursors."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from pydantic import AfterValidator

from api.http.app_context import AppContext
from api.http.context import current_context
from heldout.errors import EvaluationNotFound, JobNotFound, ModelNotFound, StudyNotFound
from models.database import Session
from models.ids import is_id
from models.wake import WakeUp


async def _app_context(request: Request) -> AppContext:
    app_context: AppContext = request.app.state.context
    return app_context


AppContextDep = Annotated[AppContext, Depends(_app_context)]


async def _write_session() -> Session:
    return current_context().write_session


async def _read_session() -> Session:
    return current_context().read_session


SessionDep = Annotated[Session, Depends(_write_session)]
ReadSessionDep = Annotated[Session, Depends(_read_session)]

AfterCommit = Callable[[Callable[[], None]], None]


async def _after_commit() -> AfterCommit:
    return current_context().after_commit.append


AfterCommitDep = Annotated[AfterCommit, Depends(_after_commit)]

Announce = Callable[[WakeUp], None]


async def _announce(app_context: AppContextDep, after_commit: AfterCommitDep) -> Announce:
    return lambda wake_up: after_commit(lambda: app_context.publisher.publish(wake_up))


AnnounceDep = Annotated[Announce, Depends(_announce)]

# What only an endpoint in a worker thread can have: nobody would commit or close it after an `async` one.
NEEDS_A_THREAD = frozenset({_write_session, _read_session, _after_commit})


def _require_form_of_an_id(job_id: str) -> str:
    """Raises JobNotFound without asking the database."""
    if not is_id("job", job_id):
        raise JobNotFound(job_id)
    return job_id


JobId = Annotated[str, Path(description="An id of a job, `job_…`."), AfterValidator(_require_form_of_an_id)]


def _require_form_of_a_study_id(study_id: str) -> str:
    """Raises StudyNotFound without asking the database."""
    if not is_id("std", study_id):
        raise StudyNotFound(study_id)
    return study_id


StudyId = Annotated[str, Path(description="An id of a study, `std_…`."), AfterValidator(_require_form_of_a_study_id)]


def _require_form_of_a_model_id(model_id: str) -> str:
    """Raises ModelNotFound without asking the database."""
    if not is_id("mod", model_id):
        raise ModelNotFound(model_id)
    return model_id


ModelId = Annotated[str, Path(description="An id of a model, `mod_…`."), AfterValidator(_require_form_of_a_model_id)]


def _require_form_of_an_evaluation_id(evaluation_id: str) -> str:
    """Raises EvaluationNotFound without asking the database."""
    if not is_id("evl", evaluation_id):
        raise EvaluationNotFound(evaluation_id)
    return evaluation_id


EvaluationId = Annotated[
    str, Path(description="An id of an evaluation, `evl_…`."), AfterValidator(_require_form_of_an_evaluation_id)
]


def cursor(prefix: str) -> Any:
    """The parameter `after`: documented with its form, and refused by the routes as `invalid_cursor`."""
    return Query(description="`next` of the page before.", json_schema_extra={"pattern": f"^{prefix}_[0-9a-z]{{26}}$"})
