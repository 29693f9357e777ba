"""The process that measures stored models of a study on test: from its assignment to its last message.

It has one model at a time in memory, the images of the splits, and for each ensemble one sum of probabilities.
"""

import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.lifecycle import FailureCode
from heldout.views.study import EnsembleFiguresView, EnsembleView
from models.answers.answers import Predictions
from models.answers.ensembles import Ensemble
from models.arrays import load
from models.studies.state import TestScores
from worker.messages import EvaluateAssignment, Evaluated, Failed, FromTraining, StoredModel
from worker.training.data import TrainingData, taken
from worker.training.export import Predictor
from worker.training.resident import BatchSource, ResidentData
from worker.training.runner import SupervisorGone, SupervisorPipe, begin_process, one_line
from worker.training.streamed import StreamedData


def run(assignment: EvaluateAssignment, pipe: Connection) -> None:
    """Measure the models in this process, which does nothing else and ends afterwards. To stop it, kill it."""
    begin_process()
    # As when the models were trained and measured: their figures on validation are the same bits.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.set_visible_devices([], "GPU")
    with suppress(SupervisorGone):
        SupervisorPipe(pipe).send(_final_message(assignment))


def _final_message(assignment: EvaluateAssignment) -> FromTraining:
    try:
        return measured(assignment)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        traceback.print_exc()
        return Failed(FailureCode.OUT_OF_MEMORY, f"The models do not fit into memory ({one_line(error)}).")
    except Exception as error:  # noqa: BLE001 - the supervisor must hear of it, whatever it is
        traceback.print_exc()
        return Failed(FailureCode.INTERNAL, one_line(error))


def measured(assignment: EvaluateAssignment) -> Evaluated:
    """Each model on test, and base and winner as ensembles on test, and on validation where they share it."""
    images = load(Path(assignment.dataset))
    names = ["test"] + ["validation"] * assignment.with_validation
    splits = {name: np.asarray(images.splits[name], np.int64) for name in names}
    data = taken(images, splits, assignment.resident_bytes)
    source: BatchSource = StreamedData(data) if data.is_streamed else ResidentData(data)
    losses: dict[str, NDArray[np.float32]] = {}
    right: dict[str, NDArray[np.bool_]] = {}
    arms = {}
    for arm, models in (("base", assignment.base), ("winner", assignment.winner)):
        ensembles = {name: Ensemble(data.labels[rows]) for name, rows in data.rows.items() if len(rows)}
        for job_id, answers in _answers(models, data, source):
            for name, ensemble in ensembles.items():
                ensemble.add(answers[name])
            losses[job_id] = answers["test"].losses
            right[job_id] = answers["test"].probabilities.argmax(axis=1) == data.labels[data.rows["test"]]
        figures = {name: ensemble.figures() for name, ensemble in ensembles.items()}
        arms[arm] = EnsembleFiguresView(
            members=len(models), validation=figures.get("validation"), test=figures.get("test")
        )
    return Evaluated(TestScores(losses, right), EnsembleView(**arms))


def _answers(
    models: Sequence[StoredModel], data: TrainingData, source: BatchSource
) -> Iterator[tuple[str, dict[str, Predictions]]]:
    """What each of the models, which have one network, says of each split."""
    model = keras.saving.load_model(models[0].file, safe_mode=True)
    predictor = Predictor(model, source, data.value_range)
    for number, one in enumerate(models):
        if number:
            model.load_weights(one.file)
        yield one.job_id, {name: predictor.predict(rows) for name, rows in data.rows.items()}
