"""The diagnosis of answers from any network, and what it takes: counts, the terms of the gap, and calibration."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, compare_renamed_labels, divide_by_copies, split_into_halves
from analysis.answers.groups import measure_groups
from analysis.answers.received import Column, ExternalAnswers
from analysis.answers.renamed_labels import choose_renaming, count_confusion
from analysis.answers.temperature import measure_calibration
from analysis.answers.training_labels import count_contradictions
from analysis.arrays.relations import HeldOutRelations
from heldout.diagnosis import Diagnosis, Evaluation
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.history import Curve, History
from heldout.diagnosis.renaming import list_usual_renamings
from heldout.histories.recorded import ReadHistory
from heldout.histories.verdict import diagnose_read
from heldout.stored.evaluation import SplitName, StoredColumn
from heldout.stored.gap import Calibration, HeldOutName, LabelsRenamed, StoredGap

# Probabilities from which a temperature is fitted, in some forty passes; of more images a random sample is used. That
# takes up to two seconds.
MAX_CALIBRATED_VALUES = 400_000


def build_evaluation(answers: ExternalAnswers) -> Evaluation:
    """Return the answers in the form for a diagnosis; their epoch is unknown."""
    confusions = {
        name: count_confusion(predictions, len(answers.classes)) for name, predictions in answers.splits.items()
    }
    columns = _measure_columns(answers)
    figures: dict[str, SplitFigures] = {
        name: SplitFigures(
            accuracy=float(predictions.right.mean()),
            count=len(predictions),
            loss=None if predictions.probabilities is None else float(predictions.losses.mean()),
            confusion=tuple(map(tuple, confusions[name].tolist())),
            columns=columns.get(name, ()),
        )
        for name, predictions in answers.splits.items()
    }
    return Evaluation(
        figures, answers.classes, gap=_compute_gap(answers, confusions), calibration=_compute_calibration(answers)
    )


def _measure_columns(answers: ExternalAnswers) -> dict[str, tuple[StoredColumn, ...]]:
    """Compute the results for the values of each column, whose bins are those of all splits together."""
    splits: dict[str, Answers] = {split: own for split, own in answers.splits.items()}  # noqa: C416 - other keys
    counts = {split: len(own) for split, own in answers.splits.items()}
    names = dict.fromkeys(name for columns in answers.columns.values() for name in columns)
    joined = {
        name: [
            value
            for split, count in counts.items()
            for value in answers.columns.get(split, {}).get(name, [None] * count)
        ]
        for name in names
    }
    ends = dict(zip(counts, np.cumsum([*counts.values()]).tolist(), strict=True))
    source: dict[str, NDArray[np.int64]] = {
        split: np.arange(ends[split] - count, ends[split]) for split, count in counts.items()
    }
    return measure_groups(joined, splits, source)


def _compute_gap(answers: ExternalAnswers, confusions: dict[SplitName, NDArray[np.int64]]) -> StoredGap | None:
    """None without answers to training and to test images."""
    splits = answers.splits
    train, test, validation = (splits.get(name) for name in ("train", "test", "validation"))
    if train is None or test is None:
        return None
    of_train, of_test = train.tally(), test.tally()
    assert of_train is not None
    assert of_test is not None
    copied = _find_copied(answers, "test")
    clean = test if copied is None or copied.is_related.all() else test.of(~copied.is_related)
    return StoredGap(
        kept_epoch=0,
        epochs=0,
        train=of_train,
        validation=None if validation is None else validation.tally(),
        test=of_test,
        validation_copies=None
        if validation is None
        else divide_by_copies(validation, _find_copied(answers, "validation")),
        test_copies=divide_by_copies(test, copied),
        training_answers=count_contradictions(train, 0, len(answers.classes)),
        # Without validation images, training's labels are assumed correct.
        labels=_compare_renamed(clean, confusions["train" if validation is None else "validation"], answers.classes),
    )


def _find_copied(answers: ExternalAnswers, split: SplitName) -> HeldOutRelations | None:
    """Return which images of the split were trained on; None if the hashes of either split are unknown."""
    if "train" not in answers.hashes or split not in answers.hashes:
        return None
    train, asked = (_drop_numbers(answers.hashes[name]) for name in ("train", split))
    if isinstance(train, np.ndarray) and isinstance(asked, np.ndarray):
        is_comparable = (train.dtype.kind in "biu") == (asked.dtype.kind in "biu")
        is_comparable &= (train.dtype.kind == "S") == (asked.dtype.kind == "S")
        return HeldOutRelations(np.isin(asked, train) if is_comparable else np.zeros(len(asked), np.bool_))
    trained = set(train)
    return HeldOutRelations(np.array([digest in trained for digest in asked], np.bool_))


# `heldout.torch` numbers equal images of a split, because studies need different ids: `<SHA-256>`, `<SHA-256>#2`.
_DIGITS = 64


def _drop_numbers(hashes: Column) -> Column:
    if not isinstance(hashes, np.ndarray):
        return [known[:_DIGITS] if isinstance(known, str) and known[_DIGITS:][:1] == "#" else known for known in hashes]
    if hashes.dtype.kind != "U" or (width := hashes.dtype.itemsize // 4) <= _DIGITS:
        return hashes
    letters = np.ascontiguousarray(hashes, f"=U{width}").view("=U1").reshape(len(hashes), width)
    return np.where(letters[:, _DIGITS] == "#", hashes.astype(f"U{_DIGITS}"), hashes)


def _compare_renamed(test: Answers, known: NDArray[np.int64], classes: Sequence[str]) -> LabelsRenamed | None:
    """Apply to each half of the test images the renaming chosen on the other half; None if none was chosen."""
    halves = [test.of(half) for half in split_into_halves(test.labels)]
    if not all(map(len, halves)):
        return None
    for_second, for_first = (choose_renaming(half, known, list_usual_renamings(classes)) for half in halves)
    if for_first is None and for_second is None:
        return None
    return compare_renamed_labels(
        (for_first, for_second), halves, [halves[0].under(for_first), halves[1].under(for_second)]
    )


def _compute_calibration(answers: ExternalAnswers) -> Calibration | None:
    """Calibrate on the validation images, or on the test images if there are none."""
    name: HeldOutName = "validation" if "validation" in answers.splits else "test"
    predictions = answers.splits.get(name)
    if predictions is None or predictions.probabilities is None:
        return None
    most = MAX_CALIBRATED_VALUES // len(answers.classes)
    if len(predictions) > most:
        predictions = predictions.of(np.random.default_rng(0).permutation(len(predictions))[:most])
    return measure_calibration(
        predictions.log_probabilities(), predictions.labels, split_into_halves(predictions.labels), name
    )


# Tolerance as a share of a loss, and as accuracy. Programs write four digits, and average over unequal batches.
_MAX_LOSS_DIFFERENCE = 0.001
_MAX_ACCURACY_DIFFERENCE = 0.0005


def diagnose_answers(answers: ExternalAnswers | None, read: ReadHistory | None, classes: int = 0) -> Diagnosis:
    """Diagnose what is known: curves, answers, or both.

    Args:
        classes: how many there are, if only the curves are known; 0 if that is unknown, too.
    """
    read = read or ReadHistory(History())
    if answers is None:
        return diagnose_read(read, Evaluation({}, tuple(map(str, range(classes)))) if classes else None)
    evaluation, numbers, notes = build_evaluation(answers), read.history.epoch_numbers, list(answers.notes)
    if (epoch := find_epoch(read.history, evaluation.get("validation"))) is not None:
        gap = evaluation.gap
        if gap is not None:
            kept = gap.model_copy(update={"kept_epoch": epoch, "epochs": numbers[-1]})
            evaluation = replace(evaluation, gap=kept)
        notes.append(f"The answers are those of epoch {epoch}: its validation figures are the same.")
    return diagnose_read(read, evaluation, notes)


def find_epoch(history: History, validation: SplitFigures | None) -> int | None:
    """Return the epoch whose validation accuracy and loss match those of the answers.

    None if none or several match.
    """
    if validation is None or not history.validation_accuracy:
        return None
    losses = history.validation_loss if validation.loss is not None else ()
    near = max(_MAX_ACCURACY_DIFFERENCE, 0.5 / validation.count)
    matching = [
        number
        for place, number in enumerate(history.epoch_numbers)
        if _is_near(history.validation_accuracy, place, validation.accuracy, near)
        and (not losses or _is_near(losses, place, validation.loss or 0.0, _MAX_LOSS_DIFFERENCE))
    ]
    return matching[0] if len(matching) == 1 else None


def _is_near(curve: Curve, place: int, value: float, least: float) -> bool:
    there = curve[place] if place < len(curve) else None
    return there is not None and abs(there - value) <= max(least, _MAX_LOSS_DIFFERENCE * abs(value))
