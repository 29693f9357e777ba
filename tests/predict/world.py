"""Two jobs on the bundled digits with exported models, as a worker leaves them, and their expected answers."""

import hashlib
import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from analysis.arrays.dataset import ImageSet
from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ExportFormat
from heldout.stored.gap import Calibration, StoredGap, Tally
from heldout.views.model import ExportReportView
from models.database import Database
from models.job_creation import create_job
from models.store import exports, jobs, label_reads
from predict.server import PredictServer
from tests.api.support import FINAL, PlayedWorker

TEMPERATURE = 2.5
SHAPE = (8, 8, 1)
DIGITS = tuple("0123456789")


def network_file(
    shape: tuple[int, int, int] = SHAPE, value_range: tuple[float, float] = (0, 16), *, filters: int = 4, depth: int = 0
) -> bytes:
    """Return an exported model with the names that the worker's export uses: a convolution, a matrix, a softmax.

    Args:
        depth: the number of further convolutions, as wide as the first.
    """
    generator = np.random.default_rng(3)
    height, width, channels = shape
    kernel = generator.normal(size=(filters, channels, 3, 3)).astype(np.float32)
    deeper = generator.normal(scale=0.02, size=(filters, filters, 3, 3)).astype(np.float32)
    matrix = generator.normal(scale=0.02, size=(filters * (height - 2) * (width - 2), 10)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["maps0"]),
        *(
            helper.make_node("Conv", [f"maps{layer}", "deeper"], [f"maps{layer + 1}"], pads=[1, 1, 1, 1])
            for layer in range(depth)
        ),
        helper.make_node("Relu", [f"maps{depth}"], ["positive"]),
        helper.make_node("Flatten", ["positive"], ["flat"]),
        helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tests",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [
            numpy_helper.from_array(kernel, "kernel"),
            *([numpy_helper.from_array(deeper, "deeper")] if depth else []),
            numpy_helper.from_array(matrix, "matrix"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    properties = {"classes": DIGITS, "shape": shape, "range": value_range}
    helper.set_model_props(
        model, {"weights_sha256": "2" * 64, **{name: json.dumps(value) for name, value in properties.items()}}
    )
    return model.SerializeToString()


@contextmanager
def predicting(settings: Settings) -> Iterator[str]:
    """Run a prediction server in a thread and yield its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = PredictServer(settings, idle_s=None)
    thread = threading.Thread(target=server.run, args=([listener],), name="predict")
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.ask_to_exit()
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"


@dataclass
class World:
    """A prediction server, its database, and two jobs of `owner` with the same exported model.

    The training of `job` has used the test split. That of `unseen` never does, and has no temperature.
    """

    url: str
    settings: Settings
    database: Database
    worker: PlayedWorker
    key: str
    job: str
    unseen: str
    file: bytes
    digits: ImageSet
    owner: str = "ada"

    def client(self, key: str | None = None) -> httpx2.Client:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=90)

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the probabilities of onnxruntime with its default settings."""
        import onnxruntime

        session = onnxruntime.InferenceSession(self.file, providers=["CPUExecutionProvider"])
        return session.run(["probabilities"], {"pixels": images.astype(np.float32)})[0]

    def submitted(self, name: str | None = None, dataset: str = "digits", **evaluation: str) -> str:
        spec: dict[str, Any] = {
            "name": name,
            "dataset": dataset,
            "network": {"blocks": [{"filters": 4}]},
            "training": {"epochs": 2, "seed": 1},
        }
        spec |= {"evaluation": evaluation} if evaluation else {}
        with self.database.write() as session:
            complete = JobSpec.model_validate(spec)
            return create_job(session, self.worker.blobs, self.owner, complete, max_parameters=10**7)[0].id

    def trained(self, *, calibrated: bool, name: str | None = None, dataset: str = "digits", **evaluation: str) -> str:
        job_id = self.submitted(name, dataset, **evaluation)
        tally = Tally(count=100, correct=90, loss=0.3, loss_variance=0.1)
        measured = Calibration(
            temperature=TEMPERATURE, error_before=0.1, error_after=0.01, loss_before=0.4, loss_after=0.3
        )
        final = FINAL if not evaluation else {**FINAL, "test": None, "gap": {**FINAL["gap"], "test": None}}
        gap = StoredGap(
            kept_epoch=2,
            epochs=2,
            train=tally,
            validation=tally,
            test=None if evaluation else tally,
            calibration=measured if calibrated else None,
        )
        held = self.worker.claim()
        assert held.job_id == job_id
        self.worker.begin(held, json.loads(json.dumps(self._spec_of(job_id))))
        for epoch in (1, 2):
            self.worker.epoch(held, epoch)
        self.worker.succeed(held, final, gap)
        return job_id

    def export(self, job_id: str, *, is_ordered: bool = False) -> None:
        """Store a checked export as a worker does."""
        if not is_ordered:
            with self.database.write() as session:
                exports.create_export(session, jobs.find(session, self.owner, job_id), ExportFormat.ONNX)
        held = self.worker.claim()
        key = f"jobs/{job_id}/exports/{held.job_id}-1.onnx"
        self.worker.blobs.put(key, self.file)
        about = {
            "job_id": job_id,
            "dataset_sha256": "1" * 64,
            "weights_sha256": "2" * 64,
            "classes": DIGITS,
            "shape": SHAPE,
            "range": (0.0, 16.0),
        }
        report = ExportReportView(
            job_id=job_id,
            format=ExportFormat.ONNX,
            runtime="onnxruntime 1",
            compared_with="predictions",
            split="test",
            images=1,
            batch_sizes=[1],
            differing_answers=0,
            max_difference=0.0,
            tolerance=1e-5,
            size_bytes=len(self.file),
            sha256=hashlib.sha256(self.file).hexdigest(),
            about=about,
        )
        with self.database.write() as session:
            exports.mark_stored(session, held, job_id, report, key=key)

    def test_looks(self, job_id: str) -> int:
        """Return how many looks at test labels the ledger has for the job."""
        with self.database.read() as session:
            job, dataset = jobs.find_with_dataset(session, self.owner, job_id)
            rows, _ = label_reads.list_page(session, self.owner, dataset, after=None, limit=200)
        return sum(row.subject_id == job.id and row.split == "test" for row in rows)

    def _spec_of(self, job_id: str) -> dict:
        with self.database.read() as session:
            return dict(jobs.find(session, self.owner, job_id).spec)


def make_npy(array: NDArray) -> bytes:
    written = io.BytesIO()
    np.save(written, array)
    return written.getvalue()
