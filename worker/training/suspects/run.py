"""The process that finds wrong labels of a dataset: from its assignment to its last message."""

from collections.abc import Sequence
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet, load
from analysis.arrays.features import load_features
from analysis.arrays.relations import load_relations
from heldout.stored.audit import MAX_CHARACTERS, StoredSuspects, Suspect
from worker.messages import ResultWritten, SuspectAssignment
from worker.training.supervisor_pipe import answer_once
from worker.training.suspects.estimate import LabelEstimate, estimate
from worker.training.suspects.linear_head import FOLDS, ROUNDS, predict_from_features
from worker.training.suspects.planting import FIRST, SUSPECTED
from worker.training.suspects.search import Found, choose_seen_size, find_suspects

# More are of no use to a person who looks at each of them.
MAX_SUSPECTS = 10_000
# The first are shown even if the search is inconclusive. Otherwise a label must be wrong with this probability or more,
# although right labels are likelier.
MIN_SHOWN = 0.1


def run(assignment: SuspectAssignment, pipe: Connection) -> None:
    """Find the wrong labels, with as many parallel operations as it has cores."""
    answer_once(lambda: _search_images(assignment), pipe, too_large="The images do", side_by_side=assignment.threads)


def _search_images(assignment: SuspectAssignment) -> ResultWritten:
    images = load(assignment.dataset.folder)
    count = len(images.labels)
    units = np.arange(count)
    if assignment.dataset.relations is not None:
        units = load_relations(assignment.dataset.relations).units().astype(np.int64)
    found = [find_suspects(images, units, assignment.seed)]
    if assignment.features is not None:
        ids, features = load_features(assignment.features)
        # A search judges all images, and only a sample of a large dataset has features.
        if np.array_equal(ids, np.arange(count)) and len(np.unique(units)) > 1:
            found.append(_find_by_features(images, features, units, assignment.seed))
    listed = assignment.dataset.names
    names = None if listed is None else listed.read_text(encoding="utf-8").split("\n")[:-1]
    file = assignment.scratch / StoredSuspects.file_name
    names = names if names is not None and len(names) == count else None
    better = choose_better(found, images, assignment.seed)
    file.write_bytes(make_stored_suspects(better, images, names, assignment.seed).to_bytes())
    return ResultWritten(file)


def _find_by_features(images: ImageSet, features: NDArray[np.floating], units: NDArray[np.int64], seed: int) -> Found:
    labels = np.asarray(images.labels, np.int32)
    probabilities = predict_from_features(features, labels, len(images.classes), units, seed)
    folds = min(FOLDS, len(np.unique(units)))
    return Found(probabilities, ROUNDS * folds, len(labels) - len(labels) // folds)


def choose_better(found: Sequence[Found], images: ImageSet, seed: int) -> Found:
    """Choose the answers that find more of the labels that the search changes itself, of those that can tell."""
    labels = np.asarray(images.labels, np.int32)
    return max(found, key=lambda answers: _rate(estimate(answers.probabilities, labels, images.splits, seed)))


def _rate(estimated: LabelEstimate) -> tuple[bool, float]:
    # Images of classes that are not judged are not found.
    judged = float(estimated.is_judged.mean())
    return estimated.verdict == "can_tell", judged * (estimated.planted.found - estimated.planted.accused)


def make_stored_suspects(found: Found, images: ImageSet, names: list[str] | None, seed: int) -> StoredSuspects:
    """Return the suspects, the most probable first; the oddest images if the search is inconclusive."""
    labels = np.asarray(images.labels, np.int32)
    estimated = estimate(found.probabilities, labels, images.splits, seed)
    judged, can_tell = estimated.judged, estimated.verdict == "can_tell"
    split_of = {row: split for split, rows in images.splits.items() for row in rows.tolist()}
    oddest_first = np.argsort(-judged.scores, kind="stable")
    oddest_first = oddest_first[estimated.is_judged[oddest_first]]
    count = max(FIRST, int((judged.wrong > SUSPECTED).sum())) if can_tell else FIRST
    shown = oddest_first[: min(count, MAX_SUSPECTS)]
    if can_tell:
        shown = shown[judged.wrong[shown] >= MIN_SHOWN]
    if names is not None:
        shown = shown[np.cumsum([len(names[row]) for row in shown]) <= MAX_CHARACTERS]
    return StoredSuspects(
        images=int(estimated.is_judged.sum()),
        agreement=float((found.probabilities.argmax(axis=1) == labels).mean()),
        surest_agreement=estimated.surest_agreement,
        verdict=estimated.verdict,
        wrong=estimated.counts if can_tell else None,
        splits=estimated.splits if can_tell else {},
        suspects=tuple(
            Suspect(
                index=row,
                split=split_of[row],
                member=None if names is None else names[row],
                label=int(labels[row]),
                suggested=int(judged.suggested[row]),
                probability=round(float(judged.wrong[row]), 4) if can_tell else None,
            )
            for row in shown.tolist()
        ),
        planted=estimated.planted,
        classes=estimated.classes,
        networks=found.networks,
        trained_on=found.trained_on,
        seen_as=choose_seen_size(images),
    )
