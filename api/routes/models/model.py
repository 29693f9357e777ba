"""Lists, returns and deletes uploaded models."""

from typing import Annotated

from fastapi import Query
from starlette.concurrency import run_in_threadpool

from api.http.app_context import AppContext
from api.http.auth import CallerDep
from api.http.deps import AppContextDep, DeleteFilesDep, ModelId, ReadSessionDep, SessionDep
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import document_errors
from api.http.routing import make_router
from api.live.hub import Channel, ChannelKind
from api.routes.long_poll import MAX_WAIT_S
from heldout.errors import InvalidCursor, ModelInUse, ModelIsShared, ModelNotFound
from heldout.views.model import ModelPage, ModelView
from models.store import models
from models.views.evaluation import build_model_view

router = make_router("/v1/models", "models")


@router.get("", responses=document_errors(InvalidCursor))
def list_models(
    caller: CallerDep,
    session: ReadSessionDep,
    asked: Annotated[AskedPage, make_page_dependency("mod")],
) -> ModelPage:
    """List your models and those that the operator shares with all owners, newest first."""
    ids = models.list_page(session, caller.owner, after=asked.after, limit=asked.limit)
    return asked.fill(
        ModelPage,
        ids,
        lambda block: [build_model_view(row, with_layers=False) for row in models.get_listed(session, block)],
    )


@router.get("/{model_id}", response_model=ModelView, responses=document_errors(ModelNotFound))
async def get_model_file(
    model_id: ModelId,
    caller: CallerDep,
    app: AppContextDep,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_S, description="Wait up to this many seconds for its file to be read.")
    ] = 0,
) -> ModelView:
    """Get a model and what its file contains, now or once the file has been read."""
    view, check_job = await run_in_threadpool(_find, app, caller.owner, model_id)
    if wait and not view.has_ended:
        await app.hub.wait(Channel(ChannelKind.JOB, check_job), lambda state: state.has_ended, wait)
        view, _ = await run_in_threadpool(_find, app, caller.owner, model_id)
    return view


@router.delete("/{model_id}", status_code=204, responses=document_errors(ModelNotFound, ModelIsShared, ModelInUse))
def delete_model(model_id: ModelId, caller: CallerDep, session: SessionDep, delete_files: DeleteFilesDep) -> None:
    """Delete a model that no running evaluation needs. Its results stay, and jobs that start from it continue."""
    models.remove(session, caller.owner, model_id)
    delete_files(f"models/{model_id}")


def _find(app: AppContext, owner: str, model_id: str) -> tuple[ModelView, str]:
    """Find the model, and the id of the job that reads its file."""
    with app.database.read() as session:
        row = models.find(session, owner, model_id)
        return build_model_view(row), row.check_job
