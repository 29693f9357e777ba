"""`heldout export` writes a verified file and says how it was verified; `heldout card` prints the model card."""

import hashlib
import json

from heldout.cli.outcome import Exit
from heldout.stored.artifacts import ExportFormat
from heldout.views.model import ExportReportView
from models.store import exports

FILE = b"an ONNX file"


def test_an_export_is_written_and_its_verification_is_printed(heldout, service, client, ended, tmp_path):
    assert client.jobs.export(ended, "onnx").status == "queued"
    held = service.claim_when_there_is_one().held
    key = f"jobs/{ended}/exports/{held.job_id}-1.onnx"
    service.blobs.put(key, FILE)
    report = ExportReportView(
        job_id=ended,
        format=ExportFormat.ONNX,
        runtime="onnxruntime 1.27.0",
        compared_with="predictions",
        split="test",
        images=300,
        batch_sizes=[1, 7, 64],
        differing_answers=0,
        max_difference=2e-7,
        tolerance=1e-5,
        size_bytes=len(FILE),
        sha256=hashlib.sha256(FILE).hexdigest(),
        about={
            "job_id": ended,
            "dataset_sha256": "",
            "weights_sha256": "",
            "classes": (),
            "shape": (8, 8, 1),
            "range": (0, 16),
        },
    )
    with service.database.write() as session:
        exports.mark_stored(session, held, ended, report, key=key)
    exported = heldout("export", ended, "--format", "onnx", "-o", "model.onnx")
    assert exported.returncode == Exit.SUCCEEDED
    assert "Loaded again by onnxruntime 1.27.0: the answers to 300 test images are the job's own" in exported.stdout
    assert (tmp_path / "model.onnx").read_bytes() == FILE
    again = json.loads(heldout("export", ended, "-o", "again.onnx", "--json").stdout)
    assert (again["size_bytes"], again["report"]["max_difference"]) == (len(FILE), 2e-7)


def test_the_card_is_printed_and_a_running_job_has_no_export(heldout, client, ended, service):
    card = heldout("card", ended)
    assert card.stdout.startswith("# Model card: small\n")
    running = client.jobs.create({"dataset": "digits", "network": {"blocks": [{"filters": 2}]}}).id
    service.begin(running)
    refused = heldout("export", running)
    assert refused.returncode == Exit.REFUSED
    assert "is running; it has a model when it ends" in refused.stderr
