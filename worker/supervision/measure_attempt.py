"""One attempt at measuring an uploaded model on a dataset: fetches what it needs, stores what was measured."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from analysis.arrays.file_names import MEMBERS_FILE
from analysis.arrays.relations import FILE_NAME, relations_key
from heldout.lifecycle.job import FailureCode
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import StoredGap
from heldout.stored.measurement import Measurement
from heldout.work.kinds import MeasureSpec
from models.store import model_evaluations
from models.store.artifacts import Artifact
from models.stored_files import store_artifact
from worker.machine.bounds import GIB
from worker.supervision.foreign_attempt import ForeignAttempt
from worker.supervision.foreign_process import ForeignProcess

# What it writes, and who checks that it is such a file before it is stored.
FILES = ((ArtifactName.EVALUATION, StoredEvaluation), (ArtifactName.GAP, StoredGap))
# Images in memory are there twice for a moment: as they are read, and as TensorFlow has them.
_COPIES_OF_IMAGES = 2


class MeasureAttempt(ForeignAttempt[MeasureSpec]):
    """The evaluation of an uploaded model."""

    what = "Measuring the model"

    def start(self, model: Path, memory_bytes: int, in_use: ExitStack) -> ForeignProcess:
        dataset = self.files.open_dataset(self.claimed.dataset.sha256, in_use.enter_context)
        dataset_id = self.claimed.dataset.id
        relations, names = self.folder / FILE_NAME, self.folder / MEMBERS_FILE
        has_relations = self.files.fetch_if_there(relations_key(dataset_id), relations)
        has_names = self.files.fetch_if_there(f"datasets/{dataset_id}/{MEMBERS_FILE}", names)
        resident = self.memory.resident_bytes()
        images_bytes = min((dataset / "images.npy").stat().st_size, resident)
        return ForeignProcess(
            "measure",
            {"facts": self.spec.facts.model_dump(mode="json"), "resident_bytes": resident},
            {
                "model": model,
                "dataset": dataset,
                "relations": relations if has_relations else None,
                "names": names if has_names else None,
            },
            self.written,
            memory_bytes=memory_bytes + GIB + _COPIES_OF_IMAGES * images_bytes,
            wall_s=int(self.spec.max_runtime_s),
        )

    def settle(self, kind: str, content: Any) -> None:
        if kind == "measured":
            measured = Measurement.model_validate(content)
            files = self._stored_files()
            self.lease.settle(lambda session: model_evaluations.end(session, self.lease.held, measured, files))
        elif kind == "refused":
            self.lease.fail(FailureCode.MODEL_UNAVAILABLE, str(content["detail"])[:2000])
        elif kind == "out_of_memory":
            self.lease.fail(FailureCode.OUT_OF_MEMORY, "The model and the images do not fit into this worker's memory.")
        else:
            raise ValueError(kind)

    def _stored_files(self) -> list[Artifact]:
        self.lease.require()
        found = []
        for name, kind in FILES:
            file = self.written / kind.file_name
            if file.exists():
                kind.from_bytes(file.read_bytes())  # whoever read the model may have written anything
                key = self.lease.key(kind.file_name)
                found.append(store_artifact(self.lease.blobs, key, file, name, ArtifactFormat.JSON))
        return found

    def settle_missing(self) -> None:
        detail = "The model or the dataset is not in the blob store any more. Upload it again."
        self.lease.fail(FailureCode.MODEL_UNAVAILABLE, detail)
