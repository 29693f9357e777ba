"""Files of answers from other programs, with the curves of the same training: read, refused at their place, kept."""

import io
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from analysis.answers.answers import PredictionsRefused
from analysis.answers.file import read_predictions
from analysis.answers.received import ExternalAnswers
from api.http.app_context import FILES_AT_ONCE
from api.http.body import parse_json
from api.routes.external_training import ExternalCurves, ExternalTraining, make_sentence
from heldout.errors import InvalidSpec
from heldout.histories.recorded import ReadHistory
from heldout.spec.documents import make_pointer
from heldout.spec.field_errors import validate
from models.blobs import Blobs

# Dedicated threads: the allocator keeps the peak memory of every thread that has ever read such a file.
READING_THREADS = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="diagnose")
# What is stored of a result: the file of answers and the text of curves that came with it, or a JSON body with both.
ANSWERS, TRAINING, WHOLE = "answers", "training.json", "whole.json"
Read = TypeVar("Read")


@dataclass(frozen=True)
class ExternalFile:
    """The answers in a file, and the curves that came with it."""

    answers: ExternalAnswers
    curves: ReadHistory | None

    def read(self, read: Callable[[ExternalAnswers, float | None, float | None], Read]) -> Read:
        """Call `read` with the answers, and the last training accuracy and loss of the curves.

        Raises:
            InvalidSpec: for what it refuses.
        """
        accuracy, loss = _get_last_of_training(self.curves)
        try:
            return read(self.answers, accuracy, loss)
        except PredictionsRefused as error:
            raise _make_refusal(error) from None

    @classmethod
    def load(cls, blobs: Blobs, key: str, parts: Collection[str], max_bytes: int) -> "ExternalFile":
        """Read what was stored below a key. Raises StorageUnavailable.

        Args:
            parts: the names of what was stored: `WHOLE`, or `ANSWERS` and perhaps `TRAINING`.
        """
        content = {name: blobs.read(f"{key}/{name}") for name in parts}
        if WHOLE in content:
            return cls.of(ExternalTraining.model_validate_json(content[WHOLE]))
        training = content[TRAINING].decode("utf-8", "surrogatepass") if TRAINING in content else None
        return read_external_file(io.BytesIO(content[ANSWERS]), training, max_bytes)

    @classmethod
    def of(cls, training: ExternalTraining) -> "ExternalFile":
        """Take the answers and the curves of a JSON body."""
        return cls(training.answers() or ExternalAnswers((), {}, {}), training.curves())


class TrainingOfFile(ExternalCurves):
    """Curves sent with a file of predictions. They may be absent."""

    @property
    def _may_have_no_curves(self) -> bool:
        return True


def read_external_file(file: BinaryIO, training: str | None, limit_bytes: int) -> ExternalFile:
    """Read a file, and the JSON text with its curves. Raises InvalidSpec with the place of what cannot be read."""
    recorded = None
    if training is not None:
        recorded = validate(TrainingOfFile, parse_json(training.encode("utf-8", "surrogatepass")))
    try:
        answers = read_predictions(file, limit_bytes, None if recorded is None else recorded.classes)
    except PredictionsRefused as error:
        raise _make_refusal(error) from None
    return ExternalFile(answers, None if recorded is None else recorded.curves())


def _make_refusal(error: PredictionsRefused) -> InvalidSpec:
    where = "".join(f"{part}, " if isinstance(part, str) else f"image {part + 1:,}, " for part in error.path)
    detail = f"{where.removesuffix(', ').capitalize()}: {error}." if where else f"{make_sentence(error)}."
    return InvalidSpec(detail, pointer=make_pointer(("file", *error.path)))


def _get_last_of_training(curves: ReadHistory | None) -> tuple[float | None, float | None]:
    """Return accuracy and loss of the training images in the last epoch, where the curves have them."""
    if curves is None:
        return None, None
    history = curves.history
    return next(reversed(history.train_accuracy), None), next(reversed(history.train_loss), None)
