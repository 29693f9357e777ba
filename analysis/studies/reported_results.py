"""What a runner reports about an external training: scores to compare, sealed test answers, and facts. Pure."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from reprlib import repr as short
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, PredictionsRefused
from analysis.answers.groups import group_images
from analysis.answers.metrics import Contributions, NotMeasurable, contribute
from analysis.answers.received import Column, ExternalAnswers
from analysis.studies.state import Scores, TestScores
from analysis.studies.stored import pack_arrays, pack_contributions, unpack_arrays, unpack_contributions
from heldout.metrics import MEASURES, METRICS, Measure
from heldout.stored.evaluation import SPLIT_NAMES, SplitName

SAME_ANSWERS = (
    "Both gave exactly the same answers, so the seed changed nothing. Seed the training's random numbers with it. If "
    "it has none, order a study with resampled splits, in which each seed learns from other images."
)
# How many classes are shown of two lists that differ.
SHOWN_CLASSES = 5


@dataclass(frozen=True)
class StudyObjective:
    """What a study compares: its objective, with the costs of answers or the column of groups that it needs."""

    measure: Measure | None = None
    costs: Sequence[Sequence[float]] | None = None
    group_column: str | None = None


@dataclass(frozen=True)
class ReportedResult:
    """What was reported about one training.

    sealed: its packed answers to test images; None without such answers.
    facts: what the run's row stores: the classes, and the number of images, accuracy and digest of each split. For
        validation images also the mean accuracy and loss, and a digest of the answers, if images of a class differ in
        them. If groups are compared, their names.
    """

    scores: Scores
    sealed: bytes | None
    facts: dict[str, Any]


def read_reported_result(
    answers: ExternalAnswers,
    train_accuracy: float | None,
    train_loss: float | None,
    objective: StudyObjective = StudyObjective(),
) -> ReportedResult:
    """Turn received answers into what a study compares.

    Args:
        train_accuracy, train_loss: those of the last epoch, for runs without answers to training images.
        objective: of the study.
    Raises:
        PredictionsRefused: there are no validation answers with probabilities, or two images have one id.
    """
    validation = answers.splits.get("validation")
    if validation is None:
        raise PredictionsRefused("received no answers to validation images, on which studies compare", ())
    for name in ("validation", "test"):
        if name in answers.splits and answers.splits[name].probabilities is None:
            raise PredictionsRefused(
                "received answers without probabilities; a study compares losses too, so send the probabilities",
                (name, "answers"),
            )
        if name in answers.hashes:
            _require_different_ids(answers.hashes[name], name)
    groups: tuple[str, ...] | None = None
    if objective.measure is not None and METRICS[objective.measure].depends_on == "groups":
        answers, groups = _group(answers, objective.group_column or "")
        validation = answers.splits["validation"]
    train = answers.splits.get("train")
    if train is not None:
        train_accuracy = float(train.right.mean())
        train_loss = None if train.probabilities is None else float(train.losses.mean())
    ids, order = _identify_images(len(validation), answers.hashes.get("validation"))
    scores = Scores(
        images=ids,
        losses=validation.losses[order].astype(np.float32),
        right=validation.right[order],
        train_loss=nan if train_loss is None else train_loss,
        train_accuracy=nan if train_accuracy is None else train_accuracy,
        train_images=0 if train is None else len(train),
        objective=_contribute(validation.of(order), "validation", objective),
    )
    splits = {
        name: _describe_split(predictions, answers.hashes.get(name)) for name, predictions in answers.splits.items()
    }
    facts = {"classes": list(answers.classes), "splits": splits, "means": scores.means}
    if groups is not None:
        facts["groups"] = list(groups)
    labels, of_label = validation.labels[order], np.zeros(len(answers.classes), np.float32)
    of_label[labels] = scores.losses
    # A network that has collapsed, or makes no mistake and has no doubt, does so with any seed.
    if (scores.losses != of_label[labels]).any():
        facts["answers"] = hashlib.sha256(scores.losses.tobytes() + scores.right.tobytes()).hexdigest()
    return ReportedResult(scores, _seal(answers, objective), facts)


def _group(answers: ExternalAnswers, column: str) -> tuple[ExternalAnswers, tuple[str, ...]]:
    """Return the answers with the group of each held-out image, and the groups' names."""
    held_out = [split for split in SPLIT_NAMES if split != "train" and split in answers.splits]
    for split in held_out:
        columns = answers.columns.get(split, {})
        if column not in columns:
            names = ", ".join(map(short, columns)) or "no columns"
            raise PredictionsRefused(
                f"received {names}; expected {column!r}, whose groups the study compares", (split,)
            )
    grouped = group_images([value for split in held_out for value in answers.columns[split][column]])
    if grouped.why is not None:
        raise PredictionsRefused(f"{column!r} does not name groups. {grouped.why.rstrip('.')}", (held_out[0],))
    ends = np.cumsum([len(answers.splits[split]) for split in held_out])[:-1]
    parts = zip(held_out, np.split(grouped.of_image, ends), strict=True)
    known: dict[SplitName, Answers] = {split: answers.splits[split].in_groups(of_split) for split, of_split in parts}
    return replace(answers, splits={**answers.splits, **known}), grouped.names


def _contribute(answers: Answers, split: SplitName, objective: StudyObjective) -> Contributions | None:
    """Return what the images contribute to an objective that is neither accuracy nor loss."""
    if objective.measure is None or objective.measure in MEASURES:
        return None
    try:
        return contribute(objective.measure, answers, objective.costs)
    except NotMeasurable as why:
        detail = f"the images cannot have the study's objective, {METRICS[objective.measure].name}. {why}"
        raise PredictionsRefused(detail, (split,)) from why


def open_sealed(sealed: Mapping[str, bytes]) -> TestScores:
    """Return the answers of trainings to test images, by job."""
    opened = {job: unpack_arrays(of_job) for job, of_job in sealed.items()}
    return TestScores(
        {job: arrays["losses"] for job, arrays in opened.items()},
        {job: arrays["right"] for job, arrays in opened.items()},
        {job: found for job, arrays in opened.items() if (found := unpack_contributions(arrays)) is not None},
    )


def drop_test(answers: ExternalAnswers) -> ExternalAnswers:
    """Return the answers without those to test images."""
    return replace(
        answers, splits={name: predictions for name, predictions in answers.splits.items() if name != "test"}
    )


def explain_disagreement(
    result: Mapping[str, Any], other: Mapping[str, Any], other_run: str, splits: Sequence[SplitName]
) -> str | None:
    """Explain why two runs cannot be compared; None if they can.

    Args:
        result, other: the `facts` of both.
        splits: those whose images must be the same.
    """
    if result["classes"] != other["classes"]:
        ours, theirs = (_describe_classes(run["classes"]) for run in (result, other))
        return f"It has {ours}, but {other_run} has {theirs}."
    if result.get("groups") != other.get("groups"):
        ours, theirs = (", ".join(run.get("groups", ())) for run in (result, other))
        return f"Its validation images have the groups {ours}, but those of {other_run} have {theirs}."
    for split in splits:
        mine, its = (run["splits"].get(split) for run in (result, other))
        if split == "validation" or (mine and its):
            assert mine is not None
            assert its is not None
            if mine["count"] != its["count"]:
                return f"It has answers to {mine['count']:,} {split} images, but {other_run} to {its['count']:,}."
            if mine["digest"] != its["digest"]:
                return (
                    f"Its {split} images differ from those of {other_run}, or come in another order. Answer the same "
                    "images, or send their ids as `hashes`."
                )
        elif (mine is None) != (its is None):
            has, lacks = ("It", other_run) if its is None else (other_run, "it")
            return f"{has} has answers to {split} images, and {lacks} has none."
    return None


def _describe_classes(classes: Sequence[str]) -> str:
    shown = ", ".join([*classes[:SHOWN_CLASSES], *(["…"] if len(classes) > SHOWN_CLASSES else [])])
    return f"{len(classes)} classes ({shown})"


def _identify_images(count: int, hashes: Column | None) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the images' numbers in ascending order, and the order itself. Equal ids give equal numbers."""
    if hashes is None:
        return np.arange(count, dtype=np.int32), np.arange(count)
    digests = [hashlib.sha256(known).digest() for known in _encode_ids(hashes)]
    order = np.asarray(sorted(range(count), key=lambda place: (digests[place], place)), np.int64)
    numbers = [int.from_bytes(digests[place][:4]) >> 1 for place in order]
    return np.asarray(numbers, np.int32), order


def _require_different_ids(hashes: Column, name: SplitName) -> None:
    """Refuse an id of two images: which of them another training answered would be unknown, and both would count."""
    first: dict[bytes, int] = {}
    for place, known in enumerate(_encode_ids(hashes)):
        if (earlier := first.setdefault(known, place)) != place:
            shown = short(known.decode("utf-8", "replace"))
            raise PredictionsRefused(
                f"received the id {shown}, which image {earlier + 1:,} has too; expected different ids, "
                "by which the images of trainings are paired. Send each image once, number copies of one image, or "
                "leave the ids out if all trainings answer the same images in the same order",
                (name, "hashes", place),
            )


def _encode_ids(hashes: Column) -> Iterator[bytes]:
    texts = hashes.tolist() if isinstance(hashes, np.ndarray) else hashes
    return (text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogatepass") for text in texts)


def _describe_split(predictions: Answers, hashes: Column | None) -> dict[str, Any]:
    """Return the number of images, the accuracy on them, and a digest of their labels and ids."""
    ids, order = _identify_images(len(predictions), hashes)
    digest = hashlib.sha256(np.ascontiguousarray(predictions.labels[order], "<i4").tobytes())
    if predictions.groups is not None:
        digest.update(np.ascontiguousarray(predictions.groups[order], "<i4").tobytes())
    digest.update(np.ascontiguousarray(ids, "<i4").tobytes())
    return {"count": len(predictions), "accuracy": float(predictions.right.mean()), "digest": digest.hexdigest()}


def _seal(answers: ExternalAnswers, objective: StudyObjective) -> bytes | None:
    test = answers.splits.get("test")
    if test is None:
        return None
    _, order = _identify_images(len(test), answers.hashes.get("test"))
    test = test.of(order)
    contributions = pack_contributions(_contribute(test, "test", objective))
    return pack_arrays({"losses": test.losses.astype(np.float32), "right": test.right} | contributions)
