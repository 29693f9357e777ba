"""Attempts at a model's file: a sandboxed process reads the untrusted file, to check, convert or measure it."""

import time
from abc import abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TypeVar

import structlog

from heldout.lifecycle.job import FailureCode
from heldout.lifecycle.resources import ModelRejectionCode
from heldout.spec.model_facts import ModelFacts
from heldout.spec.pretrained import KERAS_NETWORKS, MAX_KERAS_BYTES
from heldout.stored.artifacts import CONVERTED_KERAS, CONVERTED_ONNX, ArtifactFormat, ArtifactName
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import StoredGap
from heldout.stored.results import Measurement
from heldout.words import format_duration
from heldout.work.kinds import CheckModelSpec, MeasureSpec
from heldout.work.memory import MemoryKill
from models.digests import compute_file_digest
from models.store import claims, model_evaluations, models
from models.store.artifacts import Artifact
from models.store.models import ConvertedFiles, ModelFile
from models.stored_files import store_artifact
from worker.machine.enclosed_process import EnclosedProcess
from worker.machine.enclosure import GIB
from worker.supervision.attempt import Attempt
from worker.training.uploaded_models.download import FETCHED_FILE

SET_VARIABLES = {
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": "/dev/null",  # no settings of the worker's user, and no folder for them
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
}


# Memory of TensorFlow, Keras and onnxruntime themselves.
_PROGRAMS_BYTES = 3 * GIB
# Multiples of the file's size: for the file, its weights, and the computation with them.
_COPIES = 6
# A float32, and what makes it a random number.
_BYTES_PER_NEW_PARAMETER = 12


def get_model_memory_bytes(model: Path, new_parameters: int = 0) -> int:
    """Return the private memory that a process may have for a model's file and the programs that read it.

    Args:
        new_parameters: the most that it makes itself, for an architecture without weights.
    """
    return _PROGRAMS_BYTES + _COPIES * model.stat().st_size + _BYTES_PER_NEW_PARAMETER * new_parameters


class UploadedModelProcess(EnclosedProcess):
    """A process with an assignment. The thread that starts it must outlive it: on Linux it dies with that thread.

    Args:
        inputs: the files that it reads; the model's file is `model`.
        target: the folder that it may write.
        memory_bytes: private memory that it may have.
        wall_s: processor seconds that it may take.
    """

    reads = "model"

    def __init__(
        self,
        work: Literal["check", "convert", "fetch", "measure", "weights", "backbone"],
        assignment: Mapping[str, Any],
        inputs: Mapping[str, Path | None],
        target: Path,
        *,
        memory_bytes: int,
        wall_s: int,
    ) -> None:
        whole = {**assignment, "memory_bytes": memory_bytes, "wall_s": wall_s}
        super().__init__("worker.training.uploaded_models.child", work, whole, inputs, target, SET_VARIABLES)


log = structlog.get_logger()

# The files that a measurement writes, and the function that validates each before it is stored.
FILES = ((ArtifactName.EVALUATION, StoredEvaluation), (ArtifactName.GAP, StoredGap))
# Images are in memory twice for a moment: as read, and as TensorFlow has them.
_COPIES_OF_IMAGES = 2

OfModel = TypeVar("OfModel", bound=CheckModelSpec | MeasureSpec)


class UploadedModelAttempt(Attempt[OfModel]):
    """A sandboxed process reads an untrusted file."""

    remedy = "Upload a smaller model."
    threads = 1
    child: UploadedModelProcess

    @abstractmethod
    def process(self, model: Path, in_use: ExitStack) -> UploadedModelProcess:
        """Start the process on the model's file. Raises whatever `AttemptFiles` raises."""

    @abstractmethod
    def end(self, kind: str, content: Any) -> None:
        """End the job by the answer of the process. Raises ValueError if it is not an answer."""

    def start(self, in_use: ExitStack) -> UploadedModelProcess:
        model = self.folder / "file.keras"
        self.files.fetch(self.spec.key, model)
        process = self.process(model, in_use)
        self.began = time.monotonic()  # the limit applies to the process; fetching may take longer
        return process

    def settle(self, message: dict[str, Any]) -> bool:
        [(kind, content)] = message.items()
        if kind == "internal":
            log.warning("model_process_failed", error=str(content)[:80], lines=self.child.last_lines())
            self.lease.fail(FailureCode.INTERNAL, "Reading the model broke on our side.")
            return True
        try:
            self.end(kind, content)
        except ValueError as error:
            raise self.child.make_misunderstood() from error
        return True


class CheckModelAttempt(UploadedModelAttempt[CheckModelSpec]):
    """An attempt at the first reading of an uploaded model."""

    what = "The check of the model"

    def start(self, in_use: ExitStack) -> UploadedModelProcess:
        name = self.spec.fetches
        if name is None:
            return super().start(in_use)
        self.began = time.monotonic()
        return UploadedModelProcess(
            "fetch",
            {"network": name, "url": self._get_url(name)},
            {},
            self.written,
            memory_bytes=_PROGRAMS_BYTES + _COPIES * MAX_KERAS_BYTES,
            wall_s=int(self.spec.max_runtime_s),
        )

    def _get_url(self, network: str) -> str:
        return f"{self.settings.keras_url}/{KERAS_NETWORKS[network].path}"

    def process(self, model: Path, in_use: ExitStack) -> UploadedModelProcess:
        return UploadedModelProcess(
            "convert" if self.spec.converts else "check",
            {"max_parameters": self.spec.max_parameters},
            {"model": model},
            self.written,
            memory_bytes=get_model_memory_bytes(model, self.spec.max_parameters or 0),
            wall_s=int(self.spec.max_runtime_s),
        )

    def end(self, kind: str, content: Any) -> None:
        if kind == "facts":
            facts = ModelFacts.model_validate(content)
            made = self._store_converted() if self.spec.converts or self.spec.fetches else None
            held, model_id = self.lease.held, self.spec.model
            if self.lease.settle(lambda session: models.mark_ready(session, held, model_id, facts, made)) and made:
                self.lease.forget([self.spec.key])
        elif kind == "refused":
            self._reject(ModelRejectionCode(content["code"]), str(content["detail"])[:2000])
        elif kind == "out_of_memory":
            detail = f"{self.what} needs more memory than it may use. {self.remedy}"
            self._reject(ModelRejectionCode.OUT_OF_MEMORY, detail)
        else:
            raise ValueError(kind)

    def _store_converted(self) -> ConvertedFiles:
        self.lease.require()
        keras = self._store_model_file(CONVERTED_KERAS)
        if keras is None:
            raise ValueError("it wrote no model")
        return ConvertedFiles(keras, self._store_model_file(CONVERTED_ONNX), self._describe_source())

    def _describe_source(self) -> str | None:
        """Say which file was fetched from where."""
        name = self.spec.fetches
        if name is None:
            return None
        sha256 = compute_file_digest(self.written / FETCHED_FILE).sha256
        return f"{KERAS_NETWORKS[name].source}; {self._get_url(name)}, file with SHA-256 {sha256}"

    def _store_model_file(self, name: str) -> ModelFile | None:
        key, file = f"models/{self.spec.model}/{self.lease.held.attempt}/{name}", self.written / name
        if not file.is_file():
            return None
        self.lease.blobs.put(key, file)
        return ModelFile(key, compute_file_digest(file))

    def settle_missing(self) -> None:
        self._reject(ModelRejectionCode.UPLOAD_MISSING, "The file is not in the blob store. Upload it again.")

    def settle_late(self) -> None:
        limit = format_duration(self.spec.max_runtime_s)
        remedy = "Upload a smaller model." if self.spec.fetches is None else "Order it again."
        detail = f"The check took longer than the limit of {limit}. {remedy}"
        self._reject(ModelRejectionCode.TIMED_OUT, detail)

    def settle_kill(self, kill: MemoryKill) -> None:
        if kill.is_cause:
            self._reject(ModelRejectionCode.OUT_OF_MEMORY, self.describe_cause(kill))
        else:
            super().settle_kill(kill)

    def _reject(self, code: ModelRejectionCode, detail: str) -> None:
        log.info("model_rejected", model_id=self.spec.model, code=code.value)
        error = {"code": code.value, "detail": detail}
        self.lease.settle(lambda session: claims.reject(session, self.lease.held, error))
        self.lease.forget([self.spec.key])


class MeasureAttempt(UploadedModelAttempt[MeasureSpec]):
    """An attempt at the evaluation of an uploaded model."""

    what = "Measuring the model"

    def process(self, model: Path, in_use: ExitStack) -> UploadedModelProcess:
        dataset = self.files.open_dataset(self.claimed.dataset.sha256, in_use.enter_context)
        resident = self.shares.resident_bytes()
        images_bytes = min((dataset / "images.npy").stat().st_size, resident)
        return UploadedModelProcess(
            "measure",
            {"facts": self.spec.facts.model_dump(mode="json"), "resident_bytes": resident},
            {
                "model": model,
                "dataset": dataset,
                "relations": self.files.fetch_relations(self.claimed, self.folder, needed=False),
                "looks": self.files.fetch_looks_if_there(self.claimed.dataset.id, self.folder),
                "names": self.files.fetch_names_if_there(self.claimed, self.folder),
                "columns": self.files.fetch_columns_if_there(self.claimed, self.folder),
            },
            self.written,
            memory_bytes=get_model_memory_bytes(model) + GIB + _COPIES_OF_IMAGES * images_bytes,
            wall_s=int(self.spec.max_runtime_s),
        )

    def end(self, kind: str, content: Any) -> None:
        if kind == "measured":
            measured = Measurement.model_validate(content)
            files = self._store_files()
            self.lease.settle(lambda session: model_evaluations.end(session, self.lease.held, measured, files))
        elif kind == "refused":
            self.lease.fail(FailureCode.MODEL_UNAVAILABLE, str(content["detail"])[:2000])
        elif kind == "out_of_memory":
            self.lease.fail(FailureCode.OUT_OF_MEMORY, "The model and the images do not fit into this worker's memory.")
        else:
            raise ValueError(kind)

    def _store_files(self) -> list[Artifact]:
        self.lease.require()
        found = []
        for name, kind in FILES:
            file = self.written / kind.file_name
            if file.exists():
                kind.from_bytes(file.read_bytes())  # the process that read the model may have written anything
                key = self.lease.key(kind.file_name)
                found.append(store_artifact(self.lease.blobs, key, file, name, ArtifactFormat.JSON))
        return found

    def settle_missing(self) -> None:
        detail = "The model or the dataset is no longer in the blob store. Upload it again."
        self.lease.fail(FailureCode.MODEL_UNAVAILABLE, detail)
