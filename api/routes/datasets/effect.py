"""Previews the effect of changes to a dataset."""

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, ReadSessionDep
from api.http.problems import JSON_BODY, document_errors
from api.http.routing import make_router
from api.routes.datasets.dataset import Reference, find_dataset
from heldout.errors import DatasetLost, DatasetNotFound, DatasetNotReady, FileOfLaterRelease, StorageUnavailable
from heldout.fixes.changes import VersionSpec
from heldout.views.dataset import EffectView
from models.fix_effects import build_effect_view
from models.store import datasets, versions

router = make_router("/v1/datasets", "datasets", scope="read")

MAX_SHOWN = 60  # removed images, and as many changed images


@router.post(
    "/{dataset}/versions/effect",
    response_description="The effect. No version is made, and no label is shown.",
    responses=document_errors(
        *(DatasetNotFound, DatasetNotReady, DatasetLost, StorageUnavailable, FileOfLaterRelease), *JSON_BODY
    ),
)
def get_effect(
    dataset: Reference, spec: VersionSpec, caller: CallerDep, app: AppContextDep, session: ReadSessionDep
) -> EffectView:
    """Say how many images of which split changes would remove or change, with pictures of the first; make nothing.

    `is_complete` is false while the dataset's copies are not known yet.
    """
    row = find_dataset(session, caller.owner, dataset)
    datasets.require_content(row, "images that can be changed")
    changes = spec.changes()
    versions.require_fit(row, changes)
    return build_effect_view(session, app.blobs, row, changes, MAX_SHOWN)
