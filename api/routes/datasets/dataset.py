"""Datasets: the list, and one dataset with its splits, its audit and its pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Response

from analysis.arrays.pictures import encode_png
from api.http.app_context import AppContext
from api.http.deps import ReadContext
from api.http.forms import IN_BLOCKS, answer_in_form
from api.http.parameters import AskedPage, make_page_dependency
from api.http.places import sends_much
from api.http.problems import raises
from api.http.routing import make_router
from api.live.streams import Accept
from api.routes.downloads import make_indices_response
from heldout import errors
from heldout.documents.audit import lay_out_audit
from heldout.documents.dataset import lay_out_dataset
from heldout.fixes.bodies import Body
from heldout.fixes.changes import VersionChanges
from heldout.fixes.offers import advise, drop_answered, make_offers, share_copies_and_differ
from heldout.lifecycle.resources import DatasetStatus
from heldout.stored.audit import SuspectsSummary, preview_key
from heldout.views.audit import AuditView
from heldout.views.dataset import DatasetPage, DatasetView, EffectView, IndicesView
from heldout.words.data_and_models import GROUPS_PAGE, ask_about_groups, describe_audit, fold_notes, sort_by_severity
from models import pretrained
from models.blobs import raise_if_missing
from models.change_preview import build_effect_view
from models.database import Session
from models.store import datasets, ingests, label_reads
from models.stored_files import (
    read_audit,
    read_file,
    read_image,
    read_looks,
    read_splits,
    read_suspects,
    read_unless_lost,
)
from models.tables import DatasetRow
from models.views.dataset import build_dataset_view, get_thumbnail_route
from models.views.job import build_dataset_reference
from models.views.suspects import build_label_check_view

router = make_router("/v1/datasets", "datasets")

# Limit on the names of all pairs in an audit. Most uploads need a tenth of it.
MAX_CHARACTERS_OF_PAIRS = 256 * 1024
MAX_SHOWN_IN_AUDIT = 6  # images per finding that its fix removes

Reference = Annotated[
    str,
    Path(description="An id `ds_…`, a name (which stands for its newest ready version), or `name@version`."),
    raises(errors.DatasetNotFound),
]


@router.get("")
def list_datasets(
    context: ReadContext,
    asked: Annotated[AskedPage, make_page_dependency("ds")],
    status: Annotated[
        DatasetStatus | None,
        Query(
            description="Only datasets with this status. By default, rejected versions with a newer version are hidden."
        ),
    ] = None,
) -> DatasetPage:
    """List your datasets and the bundled ones, newest first."""
    ids = datasets.list_page(context.session, context.owner, after=asked.after, limit=asked.limit, status=status)

    def build_views(block: Sequence[str]) -> list[DatasetView]:
        return [build_dataset_view(row, with_changes=False) for row in datasets.get_listed(context.session, block)]

    return asked.fill(DatasetPage, ids, build_views)


@router.get("/{dataset}", response_model=DatasetView, responses=IN_BLOCKS)
def get_dataset(
    dataset: Reference, context: ReadContext, response: Response, accept: Accept = ""
) -> Response | DatasetView:
    """Get one version of a dataset, by id, name or `name@version`."""
    row = datasets.require(context.session, context.owner, dataset)
    position = ingests.find_ingest_position(context.session, row.id) if row.status is DatasetStatus.CHECKING else None
    view = build_dataset_view(row, queue_position=position)
    return answer_in_form(accept, response, view, lambda: lay_out_dataset(view))


@router.get("/{dataset}/splits", response_model=IndicesView, dependencies=[Depends(sends_much)])
@raises(errors.DatasetNotReady, errors.DatasetLost, errors.StorageUnavailable)
def get_splits(dataset: Reference, context: ReadContext) -> Response:
    """List the positions of each split's images in the order of the source."""
    row = datasets.require(context.session, context.owner, dataset)
    sha256 = datasets.require_content(row, "splits")
    with raise_if_missing(errors.DatasetLost(row.name)):
        return make_indices_response(read_splits(context.session, context.blobs, sha256))


@router.get("/{dataset}/audit", response_model=AuditView, responses=IN_BLOCKS)
@raises(
    errors.DatasetNotReady, errors.NoAudit, errors.DatasetLost, errors.StorageUnavailable, errors.FileOfLaterRelease
)
def get_audit(
    dataset: Reference, context: ReadContext, response: Response, accept: Accept = ""
) -> Response | AuditView:
    """Get what the audit found: leaks, label conflicts, imbalance, shift."""
    view = _build_audit_view(context, _get_ready_dataset(context.session, context.owner, dataset, "an audit"))
    return answer_in_form(accept, response, view, lambda: lay_out_audit(view))


def _build_audit_view(context: ReadContext, row: DatasetRow) -> AuditView:
    audit = read_audit(context.session, context.blobs, row)
    assert audit is not None, "every uploaded dataset has an audit"
    lost: list[errors.HeldoutError] = []
    looks = read_unless_lost(lost, lambda: read_looks(context.session, context.blobs, row))
    by_features = () if looks is None else looks.findings
    found = (*drop_answered(audit.findings, row.different or ()), *by_features)
    audit = audit.model_copy(update={"findings": tuple(sort_by_severity(fold_notes(found)))})
    stored = audit.model_dump(exclude={"format"})
    effects: dict[str, EffectView | None] = {}  # several findings of copies share one fix

    def get_effect(fix: Body | None) -> EffectView | None:
        if fix is None:
            return None
        if (known := str(fix)) not in effects:
            changes = VersionChanges.model_validate(fix)
            effects[known] = read_unless_lost(
                lost, lambda: build_effect_view(context.session, context.blobs, row, changes, MAX_SHOWN_IN_AUDIT)
            )
        return effects[known]

    def build_example(image: dict[str, Any]) -> dict[str, Any]:
        return {**image, "thumbnail": get_thumbnail_route(row.id, image["index"])}

    characters, images = 0, sum(split.count for split in audit.splits.values())

    def iterate_shown(pairs: Sequence[Sequence[dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
        """Yield as many pairs as there is room for. File names may have a kilobyte."""
        nonlocal characters
        for pair in pairs:
            characters += sum(len(image["member"]) for image in pair)
            if characters > MAX_CHARACTERS_OF_PAIRS:
                return
            yield [build_example(image) for image in pair]

    findings = [
        {
            **finding,
            "examples": [build_example(image) for image in finding["examples"]],
            "pairs": list(iterate_shown(finding["pairs"])),
            "what_to_do": advise(found, fix, images),
            "fix": fix,
            "effect": get_effect(fix),
        }
        for finding, found, fix in zip(stored["findings"], audit.findings, make_offers(audit.findings), strict=True)
    ]
    labels = build_label_check_view(
        read_unless_lost(lost, lambda: read_suspects(context.session, context.blobs, row, SuspectsSummary))
    )
    # Several findings may need the same file.
    left_out = [
        {"code": code, "detail": detail}
        for code, detail in dict.fromkeys((problem.code, problem.detail) for problem in lost)
    ]
    headline, summary = describe_audit(audit.findings, differs_too=share_copies_and_differ(audit.findings))
    # A finding with pictures asks the same.
    is_asked = any(finding.code == "names_suggest_groups" for finding in by_features)
    asked = None if is_asked else ask_about_groups(audit.source)
    return AuditView.model_validate(
        {
            **stored,
            "dataset": build_dataset_reference(row),
            "headline": headline,
            "summary": summary,
            "findings": findings,
            "question": None if asked is None else {"text": asked, "page": GROUPS_PAGE},
            "start": asdict(pretrained.propose(context.session, row, audit)),
            "labels": labels,
            "left_out": left_out,
        }
    )


PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {"schema": {"type": "string"}}}}}


@router.get("/{dataset}/preview", response_class=Response, responses=PNG)
@raises(errors.DatasetNotReady, errors.NoAudit, errors.ImageNotFound, errors.DatasetLost, errors.StorageUnavailable)
def get_preview(
    dataset: Reference,
    context: ReadContext,
    class_: Annotated[
        str | None, Query(alias="class", max_length=256, description="A name in `classes`. Default: the first one.")
    ] = None,
) -> Response:
    """Get a contact sheet of one class, training images first. It shows labels, which the ledger counts once."""
    row = _get_ready_dataset(context.session, context.owner, dataset, "a preview")
    classes = row.classes or []
    if class_ is not None and class_ not in classes:
        raise errors.ImageNotFound(f"Dataset {row.name!r} has no class {class_[:64]!r}; `classes` lists them.")
    number = 0 if class_ is None else classes.index(class_)
    with raise_if_missing(errors.DatasetLost(row.name)):
        sheet = read_file(context.session, context.blobs, preview_key(row.id, number))
    note_shown_labels(context.session, context.app, context.owner, row)
    return make_png_response(sheet)


@router.get("/{dataset}/preview/{index}", response_class=Response, responses=PNG)
@raises(errors.DatasetNotReady, errors.ImageNotFound, errors.DatasetLost, errors.StorageUnavailable)
def get_thumbnail(
    dataset: Reference,
    index: Annotated[int, Path(description="The image's position in the dataset, as in `splits` and `index`.")],
    context: ReadContext,
) -> Response:
    """Get one image, enlarged if small. It shows no label, so the ledger does not count it."""
    row = datasets.require(context.session, context.owner, dataset)
    datasets.require_content(row, "pictures")
    low, high = row.value_range or (0, 255)
    return make_png_response(encode_png(read_image(context.session, context.blobs, row, index), (low, high)))


def _get_ready_dataset(session: Session, owner: str, reference: str, what: str) -> DatasetRow:
    """Find an uploaded dataset that is ready."""
    row = datasets.require(session, owner, reference)
    if row.owner is None:
        raise errors.NoAudit(row.name)
    datasets.require_content(row, what)
    return row


def make_png_response(content: bytes) -> Response:
    # Neither a ready dataset nor a trained model changes.
    return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=86400, immutable"})


def note_shown_labels(session: Session, app: AppContext, owner: str, dataset: DatasetRow) -> None:
    """Note in the ledger, before they are shown, that the owner sees held-out labels. Only the first request writes."""
    if not label_reads.is_handed_out(session, owner, dataset):
        with app.database.write() as writing:
            label_reads.add_handed_out(writing, owner, dataset)
