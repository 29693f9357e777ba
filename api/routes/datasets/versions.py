"""New versions of datasets, mended without a second upload; what that would do; and images that were told apart."""

from fastapi import Response

from api.http.auth import CallerDep
from api.http.deps import AnnounceDep, AppContextDep, ReadSessionDep, SessionDep
from api.http.idempotency import IdempotencyKey, once
from api.http.problems import JSON_BODY, NO_ROOM, problems
from api.http.routing import resource
from api.routes.datasets.dataset import Reference, find_dataset
from heldout.errors import (
    DatasetLost,
    DatasetNotFound,
    DatasetNotReady,
    FileOfLaterRelease,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    NoAudit,
    StorageUnavailable,
)
from heldout.mending.changes import VersionSpec
from heldout.mending.look_alikes import DifferentSpec
from heldout.quotas import counted_bytes
from heldout.views.dataset import DatasetView
from heldout.views.mending import DifferentView, EffectView
from models.mending_effects import effect_view
from models.store import datasets, differences, quotas, versions
from models.views.dataset import dataset_view
from models.views.mending import different_view
from models.wake import WakeUp

router = resource("/v1/datasets", "datasets")

MAX_SHOWN = 60  # images that a change removes, and as many that it changes


@router.post(
    "/{dataset}/versions",
    status_code=201,
    response_description="`checking`: a worker makes it and audits it, as it does an upload.",
    responses=problems(
        *(DatasetNotFound, DatasetNotReady, IdempotencyKeyInFlight, IdempotencyKeyReused),
        *NO_ROOM,
        *JSON_BODY,
    ),
)
def create_version(
    dataset: Reference,
    spec: VersionSpec,
    response: Response,
    caller: CallerDep,
    app: AppContextDep,
    session: SessionDep,
    announce: AnnounceDep,
    idempotency_key: IdempotencyKey = None,
) -> DatasetView:
    """Derive a new version from one that is ready, with changes: images left out, labels, classes, pixels, splits."""

    def queued() -> DatasetView:
        bounds = app.settings.quotas
        quotas.require_room(session, caller.owner, bounds, *quotas.OF_NEW_DATASETS, *quotas.OF_NEW_JOBS)
        quotas.require_room_for_specs(session, caller.owner, bounds, counted_bytes(spec.model_dump_json()))
        row, job = versions.derive(session, caller.owner, dataset, spec, max_runtime_s=app.settings.max_ingest_s)
        announce(WakeUp.for_job(job.id, job.gpus))
        return dataset_view(row)

    route = f"POST /v1/datasets/{dataset}/versions"
    return once(session, caller.owner, idempotency_key, route, spec, response, queued)


@router.post(
    "/{dataset}/versions/effect",
    response_description="Nothing is made, and no label is shown.",
    responses=problems(
        *(DatasetNotFound, DatasetNotReady, DatasetLost, StorageUnavailable, FileOfLaterRelease), *JSON_BODY
    ),
)
def get_effect(
    dataset: Reference, spec: VersionSpec, caller: CallerDep, app: AppContextDep, session: ReadSessionDep
) -> EffectView:
    """How many images of which split changes would remove or change, before a version is made with them."""
    row = find_dataset(session, caller.owner, dataset)
    datasets.require_content(row, "images that can be mended")
    changes = spec.changes()
    versions.require_fit(row, changes)
    return effect_view(session, app.blobs, row, changes, MAX_SHOWN)


@router.post(
    "/{dataset}/different",
    response_description="All pairs of this version that were told apart.",
    responses=problems(DatasetNotFound, DatasetNotReady, NoAudit, *JSON_BODY),
)
def note_different(dataset: Reference, spec: DifferentSpec, caller: CallerDep, session: SessionDep) -> DifferentView:
    """Answer that images which look alike are different. Versions derived from this one remember it."""
    return different_view(differences.note(session, caller.owner, dataset, spec))
