"""Builds the views of a dataset's features."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.features import Picture
from heldout.lifecycle.resources import SearchStatus
from heldout.stored.evaluation import SplitName
from heldout.stored.looks import StoredLooks
from heldout.views.base import ErrorView
from heldout.views.looks import FeaturesState, MapPointsView, MapView, SimilarImageView, SimilarView
from heldout.words.data_and_models import describe_features, describe_sample
from models.tables import DatasetRow, JobRow
from models.views.dataset import get_thumbnail_route
from models.views.job import build_dataset_reference

# For each position in the dataset: in which split of a training the image was, and the position of its answer.
Answers = Mapping[int, tuple[SplitName, int]]


def describe_state(dataset: DatasetRow, job: JobRow | None, *, is_available: bool) -> dict[str, Any]:
    """Describe the state of a dataset's features, as fields of `LooksView`."""
    status: FeaturesState
    match dataset.features_status:
        case SearchStatus.STORED:
            status = "ready"
        case SearchStatus.FAILED:
            status = "failed"
        case SearchStatus.QUEUED:
            status = "running" if job is not None and job.worker is not None else "queued"
        case _:
            status = "queued" if is_available else "unavailable"
    error = None
    if status == "failed" and job is not None and job.error is not None:
        error = ErrorView.model_validate(job.error)
    name = f"{dataset.name}@{dataset.version}"
    return {
        "status": status,
        "dataset": build_dataset_reference(dataset),
        "explanation": describe_features(status, name, None if error is None else error.detail),
        "error": error,
    }


def build_similar_view(
    state: dict[str, Any],
    dataset: DatasetRow,
    index: int,
    picture: Picture | None = None,
    names: Mapping[int, str] = {},
    splits: Mapping[str, NDArray[np.int64]] = {},
    model: str | None = None,
) -> SimilarView:
    """Build the view of the images that look like the image `index`.

    Args:
        names: of images, by position. splits: positions of the images of each split.
    """
    if picture is None:
        return SimilarView(object="similar", index=index, **state)
    place = np.flatnonzero(picture.ids == index)
    if not len(place):
        why = f"Image {index:,} is not in the sample of images that have features."
        return SimilarView(object="similar", index=index, model=model, **(state | {"explanation": why}))
    split_of: dict[int, SplitName] = {row: split for split, rows in splits.items() for row in rows.tolist()}  # type: ignore[misc]
    data = [
        SimilarImageView(
            index=row,
            member=names.get(row),
            thumbnail=get_thumbnail_route(dataset.id, row),
            split=split_of[row],
            similarity=round(float(similarity), 3),
        )
        for row, similarity in zip(picture.neighbors[place[0]].tolist(), picture.similarity[place[0]], strict=True)
    ]
    return SimilarView(object="similar", index=index, model=model, data=data, **state)


def build_map_view(
    state: dict[str, Any],
    dataset: DatasetRow,
    looks: StoredLooks | None = None,
    picture: Picture | None = None,
    labels: Sequence[int] = (),
    splits: Mapping[str, NDArray[np.int64]] = {},
    answers: Answers | None = None,
) -> MapView:
    """Build the view of the map.

    Args:
        labels: of all images of the dataset. answers: of a job.
    """
    classes = dataset.classes or []
    if looks is None or picture is None:
        return MapView(object="map", classes=classes, **state)
    split_of: dict[int, SplitName] = {row: split for split, rows in splits.items() for row in rows.tolist()}  # type: ignore[misc]
    split_of |= {row: split for row, (split, _) in (answers or {}).items()}
    ids = picture.ids.tolist()
    x, y = np.round(picture.places.astype(np.float64), 4).T.tolist()
    points = MapPointsView(
        index=ids,
        x=x,
        y=y,
        split=[split_of[row] for row in ids],
        label=[int(labels[row]) for row in ids],
        answer=None if answers is None else [answers[row][1] if row in answers else None for row in ids],
    )
    explanation = describe_sample(f"{dataset.name}@{dataset.version}", looks.images, looks.sampled)
    return MapView(
        object="map",
        classes=classes,
        images=looks.images,
        sampled=looks.sampled,
        model=looks.model,
        points=points,
        **(state | {"explanation": explanation}),
    )
