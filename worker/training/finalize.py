"""The results at the end of a training: the model, its predictions and scores, and the terms of its gap."""

import traceback
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from analysis.answers.answers import Predictions
from analysis.answers.metrics import contribute, measure_split
from analysis.arrays.file_names import FileNames
from analysis.arrays.relations import load_known_relations
from analysis.studies.state import Scores
from heldout.lifecycle.job import FailureCode, StopReason
from heldout.spec.job import JobSpec
from heldout.spec.objective import Costs
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.evaluation import LastEpochScores, StoredColumn, StoredEvaluation, StoredIntervention
from heldout.stored.gap import StoredGap
from heldout.stored.results import FinalView, ModelAbout
from worker.messages import Assignment, Failed, Finished, FromTraining, Stopped, TrainedFile, Warned
from worker.training.data.training_data import TrainingData
from worker.training.engine.checkpoint import LossSums
from worker.training.engine.training_policy import TrainedWeights
from worker.training.exports.exported_model import MODEL_FILE, PreparedExport, describe_model_file
from worker.training.measuring.evaluate import (
    build_evaluation,
    build_final_figures,
    measure_columns,
    measure_predictions,
    read_image_names,
)
from worker.training.measuring.gap import measure_gap
from worker.training.measuring.predictor import Predictor
from worker.training.measuring.shortcuts import measure_interventions
from worker.training.trainer import Trainer

# A job past its deadline is killed some minutes later. Its pixels are only tried if that takes no longer than this.
MAX_PIXELS_S_AFTER_DEADLINE = 60.0
# Each half of the test images is predicted under at most this many changes of pixels.
_MAX_PASSES = 5


def finish(
    trainer: Trainer,
    reason: StopReason,
    exported: PreparedExport,
    data: TrainingData,
    assignment: Assignment,
    *,
    send: Callable[[FromTraining], None],
    is_cancelled: Callable[[], bool],
) -> Finished | Failed | Stopped:
    """Write the files of a finished training into its scratch folder, for its kept weights.

    Args:
        is_cancelled: whether the job was cancelled; then only the model is written.
    """
    scratch = assignment.scratch
    weights = trainer.get_trained_weights()
    if not weights.kept:
        return Failed(FailureCode.DEADLINE, "limits.max_runtime_s passed before one epoch was complete.")
    predictor = exported.make_predictor(weights.of_epoch[weights.kept])
    if assignment.is_experiment:
        return _finish_experiment(predictor, data, weights.kept, reason)
    saved = exported.save(predictor, scratch / MODEL_FILE, assignment.job_id)
    predictions = scratch / "predictions.npz"
    started = perf_counter()
    kept = {split: predictor.predict(rows) for split, rows in data.rows.items()}
    seconds_per_image = (perf_counter() - started) / sum(map(len, data.rows.values()))
    about = saved.result()
    model = describe_model_file(scratch)
    names = read_image_names(assignment.dataset.names, data)
    save_predictions(predictions, data, kept, names, about, trainer.loss_sums)
    cost = _measure_last_epoch(predictor, data, weights, kept)
    evaluation = scratch / StoredEvaluation.file_name
    columns = measure_columns(assignment.dataset.columns, data, kept, assignment.spec.costs)
    tried = _try_shortcuts(predictor, data, kept, columns, send)
    probabilities = {split: of_split.probabilities for split, of_split in kept.items()}
    scores = build_evaluation(data, probabilities, cost, names, columns, tried)
    evaluation.write_bytes(scores.to_bytes())
    if is_cancelled():
        return Stopped(None, model=model)
    files = [
        model,
        TrainedFile(ArtifactName.PREDICTIONS, ArtifactFormat.NPZ, predictions),
        TrainedFile(ArtifactName.EVALUATION, ArtifactFormat.JSON, evaluation),
    ]
    pixels_s = _MAX_PASSES * len(data.rows.get("test", ())) * seconds_per_image
    in_time = reason is not StopReason.DEADLINE or pixels_s < MAX_PIXELS_S_AFTER_DEADLINE
    try:
        relations = load_known_relations(assignment.dataset.relations, assignment.dataset.looks)
        gap = measure_gap(
            predictor, data, weights, kept, relations, try_pixels=in_time, losses=trainer.loss_sums, names=names
        )
        if gap is not None:
            file = scratch / StoredGap.file_name
            file.write_bytes(gap.to_bytes())
            files.append(TrainedFile(ArtifactName.GAP, ArtifactFormat.JSON, file))
    except Exception as error:  # noqa: BLE001 - the training is done, and worth more than its explanation
        traceback.print_exc()
        send(Warned(f"The terms of the gap could not be measured ({type(error).__name__})."))
    other_reads = () if cost is None else ((cost.split, cost.epoch),)
    final = _measure(data, kept, weights.kept, assignment.spec.costs)
    for_comparison = None
    if assignment.for_study and "validation" in kept:
        for_comparison = make_study_scores(data, kept, final, assignment.spec)
    return Finished(final, reason, tuple(files), other_reads, for_comparison)


def _try_shortcuts(
    predictor: Predictor,
    data: TrainingData,
    kept: Mapping[str, Predictions],
    columns: Mapping[str, tuple[StoredColumn, ...]],
    send: Callable[[FromTraining], None],
) -> dict[str, tuple[StoredIntervention, ...]]:
    try:
        return measure_interventions(predictor, data, kept, columns)
    except Exception as error:  # noqa: BLE001 - the training is done, and worth more than its explanation
        traceback.print_exc()
        send(Warned(f"Shortcuts could not be tried ({type(error).__name__})."))
        return {}


def _finish_experiment(predictor: Predictor, data: TrainingData, epoch: int, reason: StopReason) -> Finished:
    kept = {split: predictor.predict(rows) for split, rows in data.rows.items()}
    final = _measure(data, kept, epoch)
    if "validation" not in kept:
        return Finished(final, reason, ())
    labels, predicted = data.labels[data.rows["validation"]], kept["validation"].probabilities.argmax(axis=1)
    classes = len(data.classes)
    right, count = np.bincount(labels[predicted == labels], minlength=classes), np.bincount(labels, minlength=classes)
    recalls = tuple(zip(right.tolist(), count.tolist(), strict=True))
    return Finished(final, reason, (), scores=make_study_scores(data, kept, final), recalls=recalls)


def _measure(data: TrainingData, kept: Mapping[str, Predictions], epoch: int, costs: Costs = None) -> FinalView:
    measured = {
        split: measure_predictions(predictions.losses, predictions.probabilities, data.labels[data.rows[split]])
        for split, predictions in kept.items()
    }
    metrics = {
        split: measure_split(data.make_answers(split, predictions), costs)
        for split, predictions in kept.items()
        if len(data.rows[split])
    }
    return build_final_figures(epoch, measured, metrics)


def make_study_scores(
    data: TrainingData, kept: Mapping[str, Predictions], final: FinalView, spec: JobSpec | None = None
) -> Scores:
    """Return the answers of the kept weights to each validation image, from the predictions behind `final`.

    spec: whose objective the images contribute to; None for accuracy and loss only.
    """
    source = data.source["validation"]
    in_order = np.argsort(source)
    predictions = data.make_answers("validation", kept["validation"]).of(in_order)
    objective = None
    if spec is not None and spec.objective is not None and spec.has_own_objective:
        objective = contribute(spec.objective, predictions, spec.costs)
    return Scores(
        images=source[in_order].astype(np.int32),
        losses=predictions.losses.astype(np.float32),
        right=predictions.right,
        train_loss=float("nan") if final.train.loss is None else final.train.loss,
        train_accuracy=final.train.accuracy,
        train_images=final.train.count,
        kept_epoch=final.epoch,
        objective=objective,
    )


def _measure_last_epoch(
    predictor: Predictor, data: TrainingData, weights: TrainedWeights, kept: Mapping[str, Predictions]
) -> LastEpochScores | None:
    """Compute how much worse the last epoch's weights are than the kept ones; None if they are the same, or gone."""
    last = weights.epochs
    if last == weights.kept or last not in weights.of_epoch:
        return None
    split = "test" if "test" in kept else "validation"
    labels = data.labels[data.rows[split]]
    if len(labels) < 2:
        return None
    predictor.use(weights.of_epoch[last])
    predictions = predictor.predict(data.rows[split])
    predictor.use(weights.of_epoch[weights.kept])
    if not np.isfinite(predictions.losses - kept[split].losses).all():
        return None
    return LastEpochScores(
        epoch=last, kept_epoch=weights.kept, split=split, **compare_predictions(predictions, kept[split], labels)
    )


RESAMPLES = 2000
_MAX_VALUES_IN_MEMORY = 1_000_000  # values of resamples that are in memory at the same time


def compare_predictions(first: Predictions, second: Predictions, labels: NDArray[np.int32]) -> dict[str, Any]:
    """Compute how much worse `first` is than `second` on the same images, at least two.

    Args:
        labels: (count,) positions of classes.
    Returns:
        count: images; accuracy: difference (positive if `first` is right less often), interval, and p of McNemar's
        exact two-sided test; loss: difference in nats and interval. Intervals are 95% intervals of a seeded bootstrap
        over the images.
    """
    # Imported here because SciPy takes half a second to import, and few jobs need it.
    from scipy.stats import binomtest

    right, right_other = (model.probabilities.argmax(axis=1) == labels for model in (first, second))
    only_one, only_other = int((right & ~right_other).sum()), int((right_other & ~right).sum())
    differ = only_one + only_other
    losses = first.losses.astype(np.float64) - second.losses
    return {
        "count": len(labels),
        "accuracy": {
            **_compute_mean(right_other.astype(np.float64) - right),
            "p": float(binomtest(only_other, differ).pvalue) if differ else 1.0,
        },
        "loss": _compute_mean(losses),
    }


def _compute_mean(differences: NDArray[np.float64]) -> dict[str, Any]:
    from scipy.stats import bootstrap

    mean = float(differences.mean())
    if not differences.any():
        return {"difference": mean, "interval": [0.0, 0.0]}
    found = bootstrap(
        (differences,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, _MAX_VALUES_IN_MEMORY // len(differences)),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = found.confidence_interval
    return {"difference": mean, "interval": [float(low), float(high)]}


# Every entry of a string array takes as much space as the longest one.
MAX_NAME_CHARACTERS = 200
_BLOCK = 4096


def save_predictions(
    path: Path,
    data: TrainingData,
    predictions: Mapping[str, Predictions],
    names: FileNames | None = None,
    about: ModelAbout | None = None,
    losses: LossSums | None = None,
) -> None:
    """Write the predictions of each split.

    The arrays are `<split>_indices` (in the dataset), `<split>_labels`, `<split>_probabilities` and `classes`. With
    `about` there is `about`, a JSON string. With `losses` there is `train_loss_sums`, the loss of each training image
    summed over `train_loss_epochs` epochs. With `names` there is `<split>_files`; long names keep their last 200
    characters.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, split in predictions.items():
        arrays[f"{name}_indices"] = data.source[name]
        arrays[f"{name}_labels"] = data.labels[data.rows[name]]
        arrays[f"{name}_probabilities"] = split.probabilities
    arrays["classes"] = np.array(data.classes)
    if about is not None:
        arrays["about"] = np.array(about.to_bytes().decode())
    if losses is not None:
        arrays["train_loss_sums"] = losses.sums
        arrays["train_loss_epochs"] = np.array(losses.epochs)
    np.savez(path, **arrays)  # type: ignore[arg-type]
    if names is not None:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            for name in predictions:
                _add_names(archive, f"{name}_files.npy", names, data.source[name])


def _add_names(archive: zipfile.ZipFile, member: str, names: FileNames, rows: NDArray[np.int64]) -> None:
    """Add an array of image names without holding all of them in memory."""
    width = max((len(_shorten(names[row])) for row in rows.tolist()), default=1)
    dtype = np.dtype(f"<U{max(1, width)}")
    with archive.open(member, "w", force_zip64=True) as file:
        npy.write_array_header_1_0(
            file, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (len(rows),)}
        )
        for first in range(0, len(rows), _BLOCK):
            block = [_shorten(names[row]) for row in rows[first : first + _BLOCK].tolist()]
            file.write(np.array(block, dtype).tobytes())


def _shorten(name: str) -> str:
    return name if len(name) <= MAX_NAME_CHARACTERS else f"…{name[1 - MAX_NAME_CHARACTERS :]}"
