"""Whether a dataset has the images and the column that an objective needs."""

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import NO_GROUP
from analysis.answers.groups import GroupedImages, group_images
from analysis.arrays.columns import Columns, make_columns_key, parse_columns
from heldout.errors import DatasetLost, InvalidSpec
from heldout.metrics import FEWEST_OF_RAREST, METRICS
from heldout.spec.job import JobSpec
from heldout.words import pluralize
from models.blob_files import guard_reading
from models.blobs import Blobs, raise_if_missing
from models.database import Session
from models.store import file_digests
from models.stored_files import read_file, read_splits, read_stored_splits
from models.tables import DatasetRow


def require_fitting_images(session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec) -> None:
    """Refuse an objective for which validation has images of one class only, or too few of a group.

    With folds, train and validation are counted together.

    Raises:
        InvalidSpec, DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    counts = (dataset.splits or {}).get("validation", {}).get("per_class", ())
    depends_on = None if spec.objective is None else METRICS[spec.objective].depends_on
    if (
        spec.objective is not None
        and depends_on == "classes"
        and spec.validation is None
        and np.count_nonzero(counts) < 2
    ):
        name = METRICS[spec.objective].name
        raise InvalidSpec.at("/objective", f"Validation has images of one class only, so it has no {name}.")
    if spec.group_column is None:
        return
    grouped = read_groups(session, blobs, dataset, spec.group_column)
    if depends_on == "groups" and spec.has_validation:
        splits = read_stored_splits(session, blobs, dataset, spec)
        used = ["validation"] if spec.folds is None else ["train", "validation"]
        _require_groups(grouped, np.concatenate([splits[name] for name in used]), spec, 1.0, "Validation has")


def require_enough_images(
    session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec, seeds: int, folds: int | None
) -> None:
    """Refuse an objective for which an arm's trainings validate on too few images of a class or group to tell anything.

    Args:
        folds: each training validates on one of these; None if all validate on the same images.
    Raises:
        InvalidSpec, DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    depends_on = None if spec.objective is None else METRICS[spec.objective].depends_on
    used, share = (["validation"], 1.0) if folds is None else (["train", "validation"], min(seeds, folds) / folds)
    who = f"The {seeds} trainings of an arm validate on"
    if depends_on == "groups":
        assert spec.group_column is not None
        splits = read_splits(session, blobs, dataset.sha256 or "")
        rows = np.concatenate([splits[name] for name in used])
        _require_groups(read_groups(session, blobs, dataset, spec.group_column), rows, spec, share, who)
    elif depends_on == "classes":
        assert spec.objective is not None
        per_class = np.array([(dataset.splits or {})[name]["per_class"] for name in used])
        counts = (per_class.sum(axis=0) * share).astype(int).tolist()
        rarest = min(counts)
        if rarest < FEWEST_OF_RAREST:
            detail = (
                f"Too few to say. {who} {pluralize(rarest, 'image')} of class "
                f"{(dataset.classes or ())[counts.index(rarest)]!r}; {METRICS[spec.objective].name} needs "
                f"{FEWEST_OF_RAREST}. Add images of that class, or use another objective."
            )
            raise InvalidSpec.at("/objective", detail)


def _require_groups(grouped: GroupedImages, rows: NDArray[np.int64], spec: JobSpec, share: float, who: str) -> None:
    """Refuse images of a single group, or with a group of too few images.

    Args:
        rows: positions of the images. share: which part of them is used. who: the beginning of a sentence.
    """
    of_image, column = grouped.of_image[rows], spec.group_column
    counts = (np.bincount(of_image[of_image != NO_GROUP], minlength=len(grouped.names)) * share).astype(int)
    known = np.flatnonzero(counts).tolist()
    if len(known) < 2:
        which = f"only images of {column} {grouped.names[known[0]]!r}" if known else f"no image with a {column}"
        detail = f"{who} {which}, so no group can be the worst. Use another column, or other splits."
        raise InvalidSpec.at("/group_column", detail)
    smallest = min(known, key=counts.__getitem__)
    if counts[smallest] < FEWEST_OF_RAREST:
        detail = (
            f"Too few to say. {who} {pluralize(int(counts[smallest]), 'image')} of {column} "
            f"{grouped.names[smallest]!r}; {METRICS['worst_group'].name} needs {FEWEST_OF_RAREST} of each. Add images, "
            "join small groups in a new column (`columns` of a new version), or use another objective."
        )
        raise InvalidSpec.at("/group_column", detail)


def read_groups(session: Session, blobs: Blobs, dataset: DatasetRow, column: str) -> GroupedImages:
    """Group the images of a version by a column.

    Raises:
        InvalidSpec: if the version lacks it, or it has too many values.
        DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    key, version = make_columns_key(dataset.id), f"{dataset.name}@{dataset.version}"
    columns: Columns = {}
    if file_digests.find(session, key) is not None:
        with raise_if_missing(DatasetLost(dataset.name)):
            content = read_file(session, blobs, key)
        with guard_reading(key):
            columns = parse_columns(content)
    if column not in columns:
        has = f"the columns {', '.join(map(repr, columns))}" if columns else "no columns"
        detail = f"Received {column!r}, but {version} has {has}. A new version can add it (`columns`)."
        raise InvalidSpec.at("/group_column", detail)
    grouped = group_images(columns[column])
    if grouped.why is not None:
        raise InvalidSpec.at("/group_column", f"{column!r} of {version} does not name groups. {grouped.why}")
    return grouped
