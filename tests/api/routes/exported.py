"""Exported models as a worker leaves them, for tests of the API."""

import hashlib

from heldout.stored.artifacts import ExportFormat
from heldout.views.model import ExportReportView
from models.store import exports

FILE = b"the API does not parse this file"


def make_report(job: str, format_: str, content: bytes = FILE) -> ExportReportView:
    about = {
        "job_id": job,
        "dataset_sha256": "1" * 64,
        "weights_sha256": "2" * 64,
        "classes": ("cat", "dog"),
        "shape": (28, 28, 1),
        "range": (0.0, 255.0),
    }
    return ExportReportView(
        job_id=job,
        format=ExportFormat(format_),  # type: ignore[call-arg]  # a member by its value
        runtime="onnxruntime 1",
        compared_with="predictions",
        split="test",
        images=1000,
        batch_sizes=[1, 7, 64],
        differing_answers=0,
        max_difference=2e-7,
        tolerance=1e-5,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        about=about,
    )


def store_export(worker, job: str, format_: str = "onnx", shown: str | None = None) -> None:
    """Store what a worker stores after a checked export. shown: the study of an evaluation."""
    held = worker.claim()
    key = f"jobs/{job}/exports/{held.job_id}-1.{format_}"
    worker.blobs.put(key, FILE)
    with worker.database.write() as session:
        exports.mark_stored(session, held, job, make_report(shown or job, format_), key=key)
