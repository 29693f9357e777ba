"""Dependencies of endpoints: the app, the session and the caller of a request, and ids."""

from typing import Annotated

from fastapi import Depends, Path, Request
from pydantic import AfterValidator

from api.http.app_context import AppContext
from api.http.context import RequestContext, get_current_context
from api.http.problems import raises
from heldout.errors import EvaluationNotFound, HeldoutError, JobNotFound, ModelNotFound, StudyNotFound
from models.ids import is_id


async def _get_app_context(request: Request) -> AppContext:
    app_context: AppContext = request.app.state.context
    return app_context


AppContextDep = Annotated[AppContext, Depends(_get_app_context)]


async def _read() -> RequestContext:
    context = get_current_context()
    context.session = context.read_session
    return context


async def _write() -> RequestContext:
    context = get_current_context()
    context.session = context.write_session
    return context


# An endpoint that writes may also take `read_session` from its context.
ReadContext = Annotated[RequestContext, Depends(_read)]
WriteContext = Annotated[RequestContext, Depends(_write)]
# Only endpoints in worker threads may use these: after an `async` endpoint, nothing commits or closes their sessions.
NEEDS_A_THREAD = frozenset({_read, _write})


MAX_NAME = 128  # characters, of a shared model


def check_id_form(prefix: str, missing: type[HeldoutError], *, may_be_name: bool = False) -> AfterValidator:
    """Refuse malformed ids, and texts that cannot be names, as missing ones, without querying the database."""

    @raises(missing)
    def require(text: str) -> str:
        is_name = may_be_name and len(text) <= MAX_NAME and text.isprintable()
        if not (is_id(prefix, text) or is_name):
            raise missing(text)
        return text

    return AfterValidator(require)


JobId = Annotated[str, Path(description="A job's id, `job_…`."), check_id_form("job", JobNotFound)]
StudyId = Annotated[str, Path(description="A study's id, `std_…`."), check_id_form("std", StudyNotFound)]
ModelId = Annotated[str, Path(description="A model's id, `mod_…`."), check_id_form("mod", ModelNotFound)]
ModelReference = Annotated[
    str,
    Path(description="A model's id, `mod_…`, or the name of a shared model."),
    check_id_form("mod", ModelNotFound, may_be_name=True),
]
EvaluationId = Annotated[
    str, Path(description="An evaluation's id, `evl_…`."), check_id_form("evl", EvaluationNotFound)
]
