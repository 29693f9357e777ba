"""Helpers for the real service of these tests: a small spec, figures, and a stand-in for a worker."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.arrays.dataset import save_beside
from heldout.lifecycle.job import StopReason
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import IngestedContent, SplitCounts, StoredAudit, audit_key, make_suspects_key
from heldout.stored.evaluation import SPLIT_NAMES
from heldout.stored.gap import StoredGap, Tally
from heldout.stored.results import FinalView
from models.blobs import Blobs
from models.database import Database
from models.store import claims, events, ingests, searches
from models.store.artifacts import Artifact
from models.store.claims import Capacity

# How long a test waits for events that are immediate unless the machine is busy.
PATIENCE_S = 120.0
ROOT = Path(__file__).resolve().parent.parent.parent
SPEC = {"name": "small", "dataset": "digits", "network": {"blocks": [{"filters": 2}]}, "training": {"epochs": 2}}
FIGURES = {
    "train_loss": 0.091,
    "train_accuracy": 0.9711,
    "validation_loss": 0.153,
    "validation_accuracy": 0.955,
    "fit_loss": 0.2,
    "fit_accuracy": 0.93,
    "learning_rate": 0.001,
    "seconds": 2.1,
    "evaluation_seconds": 0.2,
    "images_per_second": 1700.0,
    "test_loss": None,
    "test_accuracy": None,
}
FINAL = {
    "epoch": 2,
    "train": {"loss": 0.05, "accuracy": 0.99, "count": 1000, "interval": [0.9817, 0.9946]},
    "validation": {"loss": 0.15, "accuracy": 0.955, "count": 200, "interval": [0.9166, 0.9762]},
    "test": {"loss": 0.16, "accuracy": 0.95, "count": 300, "interval": [0.9191, 0.9695]},
    "gap": {"validation": {"accuracy": 0.035, "loss": 0.1}, "test": {"accuracy": 0.04, "loss": 0.11}},
}

GAP = StoredGap(
    kept_epoch=2,
    epochs=2,
    train=Tally(count=1000, correct=990, loss=0.05, loss_variance=0.1),
    validation=Tally(count=200, correct=191, loss=0.15, loss_variance=0.1),
    test=Tally(count=300, correct=285, loss=0.16, loss_variance=0.1),
)


@dataclass
class Service:
    """A service that listens at `url`, with its database and blob store."""

    url: str
    key: str
    database: Database
    blobs: Blobs

    def begin(self, job_id):
        """Claim the job, as a worker would."""
        with self.database.write() as session:
            claimed = claims.claim(session, "test", Capacity(["auto", "cpu"]), 60)
            assert claimed is not None
            assert claimed.held.job_id == job_id
        return claimed.held

    def claim_when_there_is_one(self, within_s=PATIENCE_S):
        """Wait for a job that another process is about to submit, and claim it."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with self.database.write() as session:
                if (claimed := claims.claim(session, "test", Capacity(["auto", "cpu"]), 60)) is not None:
                    return claimed
            time.sleep(0.05)  # a poll of something real
        raise AssertionError("nothing was queued")

    def accept(self, claimed, *findings, content_of=None, **source):
        """Accept an upload or a derived version with an audit of these findings, as a worker would.

        content_of: id of a dataset with the same content.
        """
        splits: dict[str, Any] = {name: {"count": 4, "per_class": [2, 2], "sha256": "1" * 64} for name in SPLIT_NAMES}
        sha256 = hashlib.sha256((content_of or claimed.dataset.id).encode()).hexdigest()
        content = IngestedContent(sha256, 6, (8, 8, 1), "uint8", (0, 255), ("cat", "dog"), splits)
        counts = {name: SplitCounts(count=4, per_class=(2, 2)) for name in SPLIT_NAMES}
        audit = StoredAudit(sha256=sha256, splits=counts, statistics={}, findings=findings, checks={}, source=source)
        self.blobs.put(audit_key(claimed.dataset.id), audit.to_bytes())
        rows = np.arange(12)
        with tempfile.TemporaryDirectory() as folder:
            beside: dict[str, Any] = dict(zip(SPLIT_NAMES, np.split(rows, 3), strict=True))
            save_beside(Path(folder), (rows % 2).astype(np.int32), beside, ("cat", "dog"), (0, 255))
            for name in ("labels.npy", "splits.npz"):
                self.blobs.put(f"datasets/{sha256}/{name}", Path(folder, name))
        with self.database.write() as session:
            ingests.mark_ready(session, claimed.held, claimed.dataset.id, content)

    def reject(self, claimed, **error):
        """Reject an upload, as a worker would."""
        with self.database.write() as session:
            claims.reject(session, claimed.held, {"member": None, **error})

    def suspect(self, held, stored, dataset_id):
        """Store the result of a search for wrong labels."""
        self.blobs.put(make_suspects_key(dataset_id), stored.to_bytes())
        with self.database.write() as session:
            searches.mark_stored(session, searches.SUSPECTS, held, dataset_id)

    def warn(self, job_id, message):
        """Add a warning to the job's events."""
        with self.database.write() as session:
            events.add(session, job_id, "job.warning", message, level="warning")

    def measure(self, held, epoch, **figures):
        """Record an epoch and its event."""
        values = FIGURES | figures
        measured = {name: value for name, value in values.items() if value is not None}
        with self.database.write() as session:
            claims.record_epoch(session, held, epoch, measured)
            claims.record_progress(session, held, epoch=epoch, eta_s=1.0)
            events.add(session, held.job_id, "job.epoch", f"Epoch {epoch}.", data={"epoch": epoch, **values})

    def succeed(self, held, gap=GAP):
        """Finish the job successfully, with three small files."""
        folder = f"jobs/{held.job_id}/{held.attempt}"
        for name in ("model.keras", "predictions.npz"):
            self.blobs.put(f"{folder}/{name}", Path(__file__))
        files = (
            Artifact(ArtifactName.MODEL, ArtifactFormat.KERAS, f"{folder}/model.keras"),
            Artifact(ArtifactName.PREDICTIONS, ArtifactFormat.NPZ, f"{folder}/predictions.npz"),
            Artifact(ArtifactName.GAP, ArtifactFormat.JSON, f"{folder}/gap.json"),
        )
        self.blobs.put(f"{folder}/gap.json", gap.to_bytes())
        with self.database.write() as session:
            claims.succeed(
                session,
                held,
                result=claims.Result(FinalView.model_validate(FINAL), files),
                stop_reason=StopReason.COMPLETED,
            )

    def fail(self, held, code="diverged", detail="The loss is not finite."):
        with self.database.write() as session:
            claims.fail(session, held, code=code, detail=detail)

    def stop_as_requested(self, held):
        with self.database.write() as session:
            claims.stop_as_requested(session, held)


def until(holds, what, within_s=PATIENCE_S):
    """Poll until `holds()` is true."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def bare_environment(folder):
    """Return a shell's environment without our variables, except the path to the code."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    return kept | {"HOME": str(folder), "PYTHONPATH": str(ROOT), "TERM": "xterm"}


def run_apart(folder, environment, *arguments):
    """Run `heldout …` as a separate process, and return its exit code and output."""
    return subprocess.run(
        [sys.executable, "-m", "heldout", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def read_lines_until(process, text, *, errors=False):
    """Read lines of an output stream until one contains `text`, and return all of them."""
    lines = []
    for line in process.stderr if errors else process.stdout:
        lines.append(line.rstrip("\n"))
        if text in line:
            return lines
    raise AssertionError(f"{text!r} is not in {lines}; {process.communicate()}")
