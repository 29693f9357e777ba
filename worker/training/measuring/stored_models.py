"""The process that measures stored models of a study on test: from its assignment to its last message.

It holds one model at a time in memory, the images of the dataset, and a sum of probabilities per ensemble.
"""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers
from analysis.answers.ensembles import Ensemble
from analysis.answers.groups import read_groups
from analysis.answers.metrics import Contributions, NotMeasurable, contribute
from analysis.arrays.dataset import SPLITS, ImageSet, load
from analysis.arrays.folds import compute_job_splits
from analysis.arrays.relations import Relations, load_known_relations, load_relations
from analysis.studies.state import TestScores
from heldout.spec.job import JobSpec
from heldout.stored.gap import GapOnTest
from heldout.views.study import EnsembleFiguresView, EnsembleView
from worker.messages import AssignedModel, EvaluateAssignment, Evaluated
from worker.training.data.training_data import BatchSource, TrainingData, make_source, take_images
from worker.training.measuring.gap import find_related_images, measure_test
from worker.training.measuring.predictor import Predictor
from worker.training.model_files.keras_file import load_model
from worker.training.supervisor_pipe import answer_once


def run(assignment: EvaluateAssignment, pipe: Connection) -> None:
    """Measure the models in the same way as after training, so that validation gives the same bits."""
    answer_once(lambda: measure_models(assignment), pipe, too_large="The models do")


def measure_models(assignment: EvaluateAssignment) -> Evaluated:
    """Measure each model on test with the parts of its gap, and base and winner as ensembles.

    Ensembles answer test, and validation if all models share it.
    """
    images = load(assignment.dataset.folder)
    data = take_images(
        images, {split: np.asarray(images.splits[split], np.int64) for split in SPLITS}, assignment.resident_bytes
    )
    data = replace(data, groups=read_groups(assignment.dataset.columns, assignment.base[0].spec.group_column))
    source = make_source(data)
    relations = load_relations(assignment.dataset.relations) if assignment.dataset.relations else None
    known = load_known_relations(assignment.dataset.relations, assignment.dataset.looks)
    shared = [name for name in ["test"] + ["validation"] * assignment.with_validation if len(data.rows[name])]
    losses: dict[str, NDArray[np.float32]] = {}
    right: dict[str, NDArray[np.bool_]] = {}
    objective: dict[str, Contributions] = {}
    gaps, arms = dict[str, GapOnTest](), {}
    for arm, models in (("base", assignment.base), ("winner", assignment.winner)):
        ensembles = {name: Ensemble(data.labels[data.rows[name]]) for name in shared}
        for model, predictor in _iterate_predictors(models, data, source):
            own = _divide_as_trained(model.spec, images, data, relations)
            predicted = {name: predictor.predict(own.rows[name]) for name in ("validation", "test")}
            for name, ensemble in ensembles.items():
                ensemble.add(predicted[name])
            answers = {name: own.make_answers(name, part) for name, part in predicted.items()}
            losses[model.job_id] = predicted["test"].losses
            right[model.job_id] = answers["test"].right
            if model.spec.objective is not None and model.spec.has_own_objective:
                with suppress(NotMeasurable):  # test may lack classes
                    objective[model.job_id] = contribute(model.spec.objective, answers["test"], model.spec.costs)
            if (gap := _measure_gap_on_test(predictor, own, answers, known)) is not None:
                gaps[model.job_id] = gap
        figures = {name: ensemble.figures() for name, ensemble in ensembles.items()}
        arms[arm] = EnsembleFiguresView(
            members=len(models), validation=figures.get("validation"), test=figures.get("test")
        )
    return Evaluated(TestScores(losses, right, objective), EnsembleView(**arms), gaps)


def _iterate_predictors(
    models: Sequence[AssignedModel], data: TrainingData, source: BatchSource
) -> Iterator[tuple[AssignedModel, Predictor]]:
    """Yield each of the models, which share one network, ready for use until the next one."""
    model = load_model(models[0].file)
    predictor = Predictor(model, source, data.value_range)
    for number, stored in enumerate(models):
        if number:
            model.load_weights(stored.file)
        yield stored, predictor


def _divide_as_trained(
    spec: JobSpec, images: ImageSet, data: TrainingData, relations: Relations | None
) -> TrainingData:
    """Return the same images, split as in the training with this spec."""
    row_of = np.zeros(len(images.labels), np.int32)
    for split, positions in data.source.items():
        row_of[positions] = data.rows[split]
    own = compute_job_splits(images.labels, images.splits, spec, relations)
    return replace(data, source=own, rows={split: row_of[positions] for split, positions in own.items()})


def _measure_gap_on_test(
    predictor: Predictor, own: TrainingData, answers: Mapping[str, Answers], relations: Relations | None
) -> GapOnTest | None:
    related = {} if relations is None else find_related_images(relations, own.source, own.labels[own.rows["train"]])
    try:
        return measure_test(predictor, own, answers, answers["validation"], related)
    except Exception:  # noqa: BLE001 - test figures matter more than their explanation
        traceback.print_exc()
        return None
