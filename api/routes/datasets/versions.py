"""Derives new versions of datasets without a second upload, previews what changes do, and notes different images."""

from api.http.deps import ReadContext, WriteContext
from api.http.idempotency import IdempotentRequestDep
from api.http.problems import NO_ROOM, raises
from api.http.routing import make_router
from api.routes.datasets.dataset import Reference
from heldout import errors
from heldout.fixes.changes import VersionSpec
from heldout.fixes.offers import DifferentSpec
from heldout.views.dataset import DatasetView, DifferentView, EffectView
from models.change_preview import build_effect_view
from models.store import datasets, versions
from models.views.dataset import build_dataset_view
from models.views.job import build_dataset_reference

router = make_router("/v1/datasets", "datasets")


@router.post(
    "/{dataset}/versions",
    status_code=201,
    response_description="The version, `checking`: a worker makes and audits it, like an upload.",
)
@raises(errors.DatasetNotReady, *NO_ROOM)
def create_version(
    dataset: Reference,
    spec: VersionSpec,
    context: WriteContext,
    idempotent: IdempotentRequestDep,
) -> DatasetView:
    """Derive a new version from a ready one: exclude images, or change labels, classes, pixel values or splits."""

    def queue() -> DatasetView:
        limit_s = context.app.settings.max_ingest_s
        return build_dataset_view(versions.derive(context.session, context.owner, dataset, spec, max_runtime_s=limit_s))

    return idempotent.make(context.session, spec, queue)


@router.post("/{dataset}/different", response_description="All pairs of this version that were marked as different.")
@raises(errors.DatasetNotReady, errors.NoAudit)
def note_different(dataset: Reference, spec: DifferentSpec, context: WriteContext) -> DifferentView:
    """Mark images that look alike as different. Versions derived from this one keep the marks."""
    noted = versions.note_different(context.session, context.owner, dataset, spec)
    return DifferentView(object="different", dataset=build_dataset_reference(noted), pairs=list(noted.different or ()))


effect_router = make_router("/v1/datasets", "datasets", scope="read")

MAX_SHOWN = 60  # removed images, and as many changed images


@effect_router.post(
    "/{dataset}/versions/effect", response_description="The effect. No version is made, and no label is shown."
)
@raises(errors.DatasetNotReady, errors.DatasetLost, errors.StorageUnavailable, errors.FileOfLaterRelease)
def get_effect(dataset: Reference, spec: VersionSpec, context: ReadContext) -> EffectView:
    """Say how many images of which split changes would remove or change, with pictures of the first; make nothing.

    `is_complete` is false while the dataset's copies are not known yet.
    """
    row = datasets.require(context.session, context.owner, dataset)
    datasets.require_content(row, "images that can be changed")
    changes = spec.changes()
    versions.require_fit(row, changes)
    return build_effect_view(context.session, context.blobs, row, changes, MAX_SHOWN)
