"""Dependencies of endpoints: the app, the session and the caller of a request, and ids."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import structlog
from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from api.http.app_context import AppContext
from api.http.context import RequestContext, get_current_context
from api.http.problems import raises
from heldout.errors import EvaluationNotFound, HeldoutError, JobNotFound, ModelNotFound, StudyNotFound
from models.blobs import Blobs
from models.database import Session
from models.ids import is_id
from models.store.keys import Caller

log = structlog.get_logger("heldout.api")


async def _get_app_context(request: Request) -> AppContext:
    app_context: AppContext = request.app.state.context
    return app_context


AppContextDep = Annotated[AppContext, Depends(_get_app_context)]


@dataclass(frozen=True)
class Work:
    """What an endpoint in a worker thread works with. What it writes is committed when it returns."""

    context: RequestContext
    session: Session

    @property
    def caller(self) -> Caller:
        """The owner and the key of the request."""
        return self.context.caller

    @property
    def owner(self) -> str:
        """The owner of the request's key."""
        return self.context.caller.owner

    @property
    def app(self) -> AppContext:
        return self.context.app

    @property
    def blobs(self) -> Blobs:
        return self.context.app.blobs

    def delete_files(self, *folders: str) -> None:
        """Delete folders of the blob store after the commit. Failures are logged."""
        self.context.after_commit += [partial(_delete_folder, self.blobs, folder) for folder in folders]


def _delete_folder(blobs: Blobs, folder: str) -> None:
    try:
        blobs.delete_all(folder)
    except HeldoutError as error:
        log.warning("files_not_deleted", folder=folder, reason=error.detail)


async def _read() -> Work:
    context = get_current_context()
    return Work(context, context.read_session)


async def _write() -> Work:
    context = get_current_context()
    return Work(context, context.write_session)


Reading = Annotated[Work, Depends(_read)]
Writing = Annotated[Work, Depends(_write)]
# Only endpoints in worker threads may use these: after an `async` endpoint, nothing commits or closes their sessions.
NEEDS_A_THREAD = frozenset({_read, _write})


def check_id_form(prefix: str, missing: type[HeldoutError]) -> AfterValidator:
    """Refuse malformed ids as missing ones, without querying the database."""

    @raises(missing)
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
