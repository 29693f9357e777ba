"""Dependencies of endpoints: shared objects, database sessions, work after the commit, and ids."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Protocol

import structlog
from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from api.http.app_context import AppContext
from api.http.context import get_current_context
from heldout.errors import EvaluationNotFound, HeldoutError, JobNotFound, ModelNotFound, StudyNotFound
from models.database import Session
from models.ids import is_id

log = structlog.get_logger("heldout.api")


async def _get_app_context(request: Request) -> AppContext:
    app_context: AppContext = request.app.state.context
    return app_context


AppContextDep = Annotated[AppContext, Depends(_get_app_context)]


async def _write_session() -> Session:
    return get_current_context().write_session


async def _read_session() -> Session:
    return get_current_context().read_session


SessionDep = Annotated[Session, Depends(_write_session)]
ReadSessionDep = Annotated[Session, Depends(_read_session)]

AfterCommit = Callable[[Callable[[], None]], None]


async def _get_after_commit() -> AfterCommit:
    return get_current_context().after_commit.append


AfterCommitDep = Annotated[AfterCommit, Depends(_get_after_commit)]


class DeleteFiles(Protocol):
    """Deletes folders of the blob store after the transaction is committed. Failures are logged."""

    def __call__(self, *folders: str) -> None: ...


async def _delete_files(app_context: AppContextDep, after_commit: AfterCommitDep) -> DeleteFiles:
    def delete(folder: str) -> None:
        try:
            app_context.blobs.delete_all(folder)
        except HeldoutError as error:
            log.warning("files_not_deleted", folder=folder, reason=error.detail)

    def delete_later(*folders: str) -> None:
        for folder in folders:
            after_commit(partial(delete, folder))

    return delete_later


DeleteFilesDep = Annotated[DeleteFiles, Depends(_delete_files)]

# Only endpoints in worker threads may use these: after an `async` endpoint, nothing commits or closes them.
NEEDS_A_THREAD = frozenset({_write_session, _read_session, _get_after_commit})


def check_id_form(prefix: str, missing: Callable[[str], HeldoutError]) -> AfterValidator:
    """Refuse malformed ids as missing ones, without querying the database."""

    def require(text: str) -> str:
        if not is_id(prefix, text):
            raise missing(text)
        return text

    return AfterValidator(require)


JobId = Annotated[str, Path(description="A job's id, `job_…`."), check_id_form("job", JobNotFound)]
StudyId = Annotated[str, Path(description="A study's id, `std_…`."), check_id_form("std", StudyNotFound)]
ModelId = Annotated[str, Path(description="A model's id, `mod_…`."), check_id_form("mod", ModelNotFound)]
EvaluationId = Annotated[
    str, Path(description="An evaluation's id, `evl_…`."), check_id_form("evl", EvaluationNotFound)
]
