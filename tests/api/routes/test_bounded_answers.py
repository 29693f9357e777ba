"""Every response is limited in bytes and memory, even with the largest possible rows."""

import ctypes
import gc
import io
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from sqlalchemy import insert, literal, select, update

from analysis.arrays.features import Picture, save_features
from analysis.arrays.file_names import make_members_key
from heldout.lifecycle.resources import ModelFormat
from heldout.spec.job import MAX_CLASS_NAMES_BYTES
from heldout.spec.model_facts import MAX_LAYERS_BYTES, FeatureMapFacts, MapLayer, ModelFacts, ModelLayer
from heldout.stored.audit import (
    MAX_CHARACTERS,
    AuditExample,
    AuditFinding,
    StoredAudit,
    StoredSuspects,
    Suspect,
    WrongLabels,
    audit_key,
    make_suspects_key,
    preview_key,
)
from heldout.stored.evaluation import StoredClassScores, StoredEvaluation, StoredMistake, StoredSplitScores
from heldout.stored.looks import StoredLooks, make_features_key, make_looks_key
from heldout.stored.results import Measurement
from models.database import db_now
from models.ids import make_id
from models.store import datasets, model_evaluations, models
from models.stored_files import read_splits
from models.tables import (
    ActivityRow,
    ArtifactRow,
    DatasetRow,
    DeliveryRow,
    EpochRow,
    EventRow,
    JobRow,
    KeyRow,
    LabelReadRow,
    ModelRow,
    StudyRow,
    UsageRow,
)
from tests.api.routes.exported import store_export
from tests.api.support import EPOCH, FINAL, sqlite_only, submit, with_field

MIB = 1024 * 1024
MAX_ANSWER_BYTES, MAX_ANSWER_MIB = 2_000_000, 50
MANY, LARGE = 205, 30  # rows that fill a page of 200, and large rows, of which a page has fewer
CLASSES = [f"{number:04}" + "é" * 30 for number in range(1000)]
MEMBER = "é" * 510 + ".png"
WIDE = {f"{number:02}" + "é" * 62: "é" * 512 for number in range(16)}
KEYS = 12

# Routes with responses of any size, and why that is harmless.
UNBOUNDED = {
    "/v1/jobs/{job_id}/model": "a file, streamed",
    "/v1/jobs/{job_id}/predictions": "a file, streamed",
    "/v1/jobs/{job_id}/splits": "streamed",
    "/v1/jobs/{job_id}/images/{index}/heatmap": "a picture of at most 388×192 pixels",
    "/v1/datasets/{dataset}/splits": "streamed",
    "/v1/studies/{study_id}/model": "a file, streamed",
    "/v1/studies/{study_id}/model/report": "like a job's",
    "/v1/studies/{study_id}/runs/{run_id}": "a single run of a study",
    "/v1/studies/{study_id}/runs/{run_id}/diagnosis": "like that of predictions",
    "/metrics": "belongs to the service, and one at a time",
}
# All other routes, with the parameters that make their responses largest.
BOUNDED = {
    "/v1/jobs": "?limit=200&curves=100&queue=true",
    "/v1/jobs/{job_id}": "",
    "/v1/jobs/{job_id}/metrics": "",
    "/v1/jobs/{job_id}/model/report": "?format=onnx",
    "/v1/jobs/{job_id}/exports": "",
    "/v1/jobs/{job_id}/card": "",
    "/v1/jobs/{job_id}/diagnosis": "",
    "/v1/diagnoses": "?limit=200",
    "/v1/diagnoses/{diagnosis_id}": "",
    "/v1/jobs/{job_id}/confusion": "",
    "/v1/jobs/{job_id}/confusion/images": "?split=test&label={class}&answer={class}&limit=200",
    "/v1/jobs/{job_id}/memorized": "?limit=200",
    "/v1/jobs/{job_id}/events": "?limit=200",
    "/v1/jobs/{job_id}/proof": "",
    "/v1/jobs/{job_id}/queue": "",
    "/v1/datasets": "?limit=200",
    "/v1/datasets/{dataset}": "",
    "/v1/datasets/{dataset}/audit": "",
    "/v1/datasets/{dataset}/preview": "",
    "/v1/datasets/{dataset}/preview/{index}": "",
    "/v1/datasets/{dataset}/images": "?limit=200",
    "/v1/datasets/{dataset}/ledger": "?limit=200",
    "/v1/datasets/{dataset}/suspects": "?limit=200",
    "/v1/datasets/{dataset}/images/{index}/similar": "",
    "/v1/datasets/{dataset}/map": "",
    "/v1/studies": "?limit=200",
    "/v1/studies/{study_id}": "",
    "/v1/studies/{study_id}/report": "",
    "/v1/studies/{study_id}/runs": "",
    "/v1/studies/{study_id}/events": "?limit=200",
    "/v1/models": "?limit=200",
    "/v1/models/{model_id}": "",
    "/v1/evaluations": "?limit=200",
    "/v1/evaluations/{evaluation_id}": "",
    "/v1/evaluations/{evaluation_id}/confusion": "",
    "/v1/evaluations/{evaluation_id}/diagnosis": "",
    "/v1/events": "?limit=200",
    "/v1/keys": "",
    "/v1/usage": "?group_by=key&from={month_ago}",
    "/v1/activity": "?limit=200",
    "/v1/webhooks": "",
    "/v1/webhooks/{webhook_id}": "",
    "/v1/webhooks/{webhook_id}/deliveries": "?limit=200",
    "/v1/session": "",
    "/livez": "",
    "/readyz": "",
}


MOST_FEATURES = 10_000  # of `worker/training/looks/compute.py`, which needs TensorFlow


class Largest:
    """Fills a database and a blob store with the largest rows and files of one owner."""

    def __init__(self, client, worker, spec: dict) -> None:
        self.client, self.worker, self.spec = client, worker, spec
        self.ids: dict[str, str] = {"index": "0", "class": CLASSES[0]}
        self.ids["month_ago"] = (datetime.now(UTC) - timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.dataset()
        self.job()
        self.study()
        self.model_and_evaluation()
        self.kept_diagnosis()
        self.access()

    def copied(self, table: Any, id_: str, prefix: str, count: int, **changes: Any) -> None:
        """Add copies of the row with that id. Callable changes get the number of the copy."""
        columns = table.__table__.columns
        with self.worker.database.write() as session:
            for number in range(1, count):
                made = {name: made(number) if callable(made) else made for name, made in changes.items()}
                values = [
                    literal({"id": make_id(prefix), **made}[column.name], column.type)
                    if column.name in {"id", *made}
                    else column
                    for column in columns
                ]
                copy = select(*values).where(table.id == id_)  # within the database, because some rows are large
                session.execute(insert(table.__table__).from_select(list(columns), copy))

    def dataset(self) -> None:
        named = [f"{MEMBER}{number}" for number in range(900)]
        with self.worker.database.write() as session:
            content = datasets.find(session, "ada", "mnist5k")
            splits = {name: {**split, "per_class": [99_999] * 1000} for name, split in content.splits.items()}
            id_ = self.ids["dataset"] = make_id("ds")
            values = {
                **{name: getattr(content, name) for name in ("status", "shape", "dtype", "value_range", "sha256")},
                "id": id_,
                "owner": "ada",
                "name": "large",
                "version": 1,
                "description": "é" * 2000,
                "classes": CLASSES,
                "splits": splits,
                "size_bytes": 10**9,
                "created_at": db_now(),
                "spec": {"name": "large", "splits": {"folders": {f"{n:03}" + "é" * 252: "class" for n in range(100)}}},
                "derived_from": {"dataset": {"id": content.id, "name": "large", "version": 1}},
                "changes": {"exclude": named},
                "relations_status": content.relations_status,
            }
            session.execute(insert(DatasetRow).values(values))
            read = {
                "owner": "ada",
                "digest": splits["test"]["sha256"],
                "split": "test",
                "subject_object": "job",
                "what": "measured",
                "dataset_id": id_,
                "created_at": datetime.now(UTC),
            }
            reads = [
                {"id": make_id("read"), "subject_id": make_id("job"), "epoch": number, **read} for number in range(MANY)
            ]
            session.execute(insert(LabelReadRow), reads)
        self.copied(DatasetRow, id_, "ds", LARGE, version=lambda number: 1 + number)
        image = AuditExample(split="train", index=4999, member=MEMBER)
        finding = AuditFinding(
            code="duplicates",
            severity="warning",
            numbers={},
            explanation="é" * 500,
            what_to_do="é" * 200,
            examples=(image,) * 12,
            pairs=((image, image),) * 200,
        )
        audit = StoredAudit(
            sha256=content.sha256,
            splits=splits,
            statistics={},
            findings=(finding,) * 6,
            checks={},
            source={"format": "a zip of folders", "notes": [MEMBER[:200]] * 100},
        )
        suspect = Suspect(index=1, split="test", member=MEMBER, label=0, suggested=1, probability=0.9)
        found = StoredSuspects(
            images=5000,
            agreement=0.9,
            verdict="can_tell",
            wrong=WrongLabels(count=250, low=200, high=300),
            suspects=(suspect,) * (MAX_CHARACTERS // len(MEMBER)),
            networks=10,
            trained_on=4000,
            seen_as=(28, 28),
        )
        blobs = self.worker.blobs
        blobs.put(audit_key(id_), audit.to_bytes())
        blobs.put(make_suspects_key(id_), found.to_bytes())
        blobs.put(make_members_key(id_), f"{MEMBER}\n".encode() * 200_000)
        blobs.put(preview_key(id_, 0), b"\x89PNG" + b"0" * 500_000)
        with self.worker.database.write() as session:
            known = {"suspects_status": "stored", "features_status": "stored"}
            session.execute(update(DatasetRow).where(DatasetRow.id == id_).values(**known))
        self.features(id_)

    def features(self, dataset_id: str) -> None:
        """Store features of all images of the content, as often as a dataset may have them."""
        with self.worker.database.read() as session:
            row = session.get_one(DatasetRow, dataset_id)
            splits = read_splits(session, self.worker.blobs, row.sha256)
        ids = np.resize(np.sort(np.concatenate(list(splits.values()))), MOST_FEATURES).astype(np.int32)
        near = np.tile(ids[:10], (len(ids), 1))
        places = np.full((len(ids), 2), 1 / 3, np.float16)
        file = io.BytesIO()
        save_features(Picture(ids, near, near.astype(np.float16), places), places, file)
        self.worker.blobs.put(make_features_key(dataset_id), file.getvalue())
        looks = StoredLooks(model="é" * 100, model_sha256="0" * 64, images=10**6, sampled=10_000, seen_as=(128, 128))
        self.worker.blobs.put(make_looks_key(dataset_id), looks.to_bytes())

    def job(self) -> None:
        self.spec = with_field(self.spec, "dataset", self.ids["dataset"])
        self.spec = with_field(self.spec, "training.class_weights", dict.fromkeys(CLASSES, 1.5))
        self.spec = with_field(self.spec, "metadata", WIDE)
        job = self.ids["job_id"] = submit(self.client, with_field(self.spec, "training.epochs", 1000))["id"]
        shown = self.client.get(f"/v1/jobs/{job}").json()["spec"]
        held = self.worker.claim()
        self.worker.begin(held, shown)
        with self.worker.database.write() as session:
            figures = dict.fromkeys(EPOCH, math.pi / 3)
            rows = [{"job_id": job, "attempt": 1, "epoch": number, **figures} for number in range(1, 1001)]
            session.execute(insert(EpochRow), rows)
            session.execute(update(JobRow).where(JobRow.id == job).values(epoch=1000))
        self.worker.succeed(held)
        self.answered(job)
        self.client.post(f"/v1/jobs/{job}/model?format=onnx")
        store_export(self.worker, job)
        large = {"code": "internal", "detail": "é" * 2000}
        self.copied(JobRow, job, "job", LARGE, error=large, initial={"classes": CLASSES, "taken": ["é" * 100] * 80})
        with self.worker.database.write() as session:
            last = session.scalar(select(JobRow.last_event).where(JobRow.id == job))
            session.execute(insert(EventRow), [make_event("job", job, last + number) for number in range(1, MANY)])

    def answered(self, job: str) -> None:
        """Store an evaluation with a confusion matrix of all classes for each split."""
        # Building the text is faster. A dataset can have as many images as this matrix has cells.
        matrix = f"[{', '.join(['[' + '0, ' * 999 + '1000]'] * 1000)}]"
        scores = StoredClassScores(count=99_999, precision=math.pi / 4, recall=math.pi / 4, f1=math.pi / 4)
        mistake = StoredMistake(index=4999, member=MEMBER, label=0, answer=1, probability=math.pi / 4)
        split = StoredSplitScores(
            confusion=((),), per_class=(scores,) * 1000, calibration_error=0.1, mistakes=(mistake,) * 20
        )
        made = dict.fromkeys(("train", "validation", "test"), split)
        stored = StoredEvaluation(classes=tuple(CLASSES), splits=made).to_bytes()
        content = stored.replace(b"[[]]", matrix.encode())
        with self.worker.database.write() as session:
            key = f"jobs/{job}/1/evaluation.json"
            self.worker.blobs.put(key, content)
            values = {"key": key, "size_bytes": len(content), "sha256": None}
            of_job = (ArtifactRow.job_id == job, ArtifactRow.name == "evaluation")
            if session.execute(update(ArtifactRow).where(*of_job).values(values)).rowcount == 0:
                session.execute(
                    insert(ArtifactRow).values(job_id=job, attempt=1, name="evaluation", format="json", **values)
                )

    def study(self) -> None:
        nulls = {"training": {"epochs": 3, **{f"k{number:05}": None for number in range(4500)}}}
        body = {"spec": self.spec, "remedies": [{"name": "own", "patch": nulls}], "splits": "fixed", "metadata": WIDE}
        answer = self.client.post("/v1/studies", json=body)
        assert answer.status_code == 201, answer.text
        study = self.ids["study_id"] = answer.json()["id"]
        self.copied(StudyRow, study, "std", LARGE, tested=b"0" * MIB)
        with self.worker.database.write() as session:
            last = session.scalar(select(StudyRow.last_event).where(StudyRow.id == study))
            session.execute(insert(EventRow), [make_event("study", study, last + number) for number in range(1, MANY)])

    def model_and_evaluation(self) -> None:
        layer = ModelLayer(name="é" * 200, type="Conv2D", weights=((3, 3, 1024, 1024),) * 4)
        inner = MapLayer(name="é" * 200, shape=(64, 64, 1024), parameters=10**7)
        facts = ModelFacts(
            format=ModelFormat.KERAS,
            input_shape=(28, 28, 1),
            output_shape=(1000,),
            parameters=10**9,
            layers=(layer,) * 10_000,
            feature_map=FeatureMapFacts(
                scales_pixels=True,
                trainable_parameters=1,
                flops=1,
                values=1,
                largest=1,
                layers=(inner,) * 10_000,
            ),
            made_by="é" * 200,
        )
        model = self.client.post("/v1/models", content=b"not read", params={"name": "é" * 128}).json()["id"]
        self.ids["model_id"] = model
        held = next(self.claimed("check_model"))
        with self.worker.database.write() as session:
            models.mark_ready(session, held, model, facts)
        with self.worker.database.read() as session:
            row = session.get_one(ModelRow, model)
            assert len(row.layers["layers"]) > 200
            assert len(json.dumps(row.layers, ensure_ascii=False).encode()) < 2.2 * MAX_LAYERS_BYTES
            assert sum(layer["parameters"] for layer in row.layers["feature_map"]) == 10_000 * 10**7
        self.copied(ModelRow, model, "mod", MANY)
        wanted = {"model": model, "dataset": self.ids["dataset"]}
        evaluation = self.client.post("/v1/evaluations", json=wanted).json()["id"]
        self.ids["evaluation_id"] = evaluation
        held = next(self.claimed("measure"))
        measured = {"metrics": {name: FINAL[name] for name in ("train", "validation", "test", "gap")}}
        with self.worker.database.write() as session:
            model_evaluations.end(session, held, Measurement.model_validate(measured), [])
        self.answered(evaluation)
        self.copied(JobRow, evaluation, "evl", MANY, error={"code": "internal", "detail": "é" * 2000})

    def claimed(self, kind: str):
        """Claim jobs until one of this kind is found, and yield those."""
        while True:
            held = self.worker.claim()
            with self.worker.database.read() as session:
                if session.get_one(JobRow, held.job_id).kind == kind:
                    yield held

    def kept_diagnosis(self) -> None:
        diagnosis = self.client.get(f"/v1/jobs/{self.ids['job_id']}/diagnosis").json()
        self.ids["diagnosis_id"] = self.client.post("/v1/diagnoses/kept", json=diagnosis).json()["id"]

    def access(self) -> None:
        hook = {"url": "https://example.com/" + "x" * 1900, "events": ["job.succeeded"]}
        webhook = self.ids["webhook_id"] = self.client.post("/v1/webhooks", json=hook).json()["id"]
        attempt = {"at": "2026-01-01T00:00:00.000Z", "status": None, "error": "é" * 200, "milliseconds": 30_000}
        now = datetime.now(UTC)
        hour = now.replace(minute=0, second=0, microsecond=0)
        with self.worker.database.write() as session:
            delivery = {
                "webhook_id": webhook,
                "type": "job.succeeded",
                "status": "failed",
                "attempts": 10,
                "fence": 10,
                "subject_object": "job",
                "subject_id": self.ids["job_id"],
                "payload": {"spec": "é" * 100_000},
                "log": [attempt] * 10,
                "created_at": now,
            }
            session.execute(insert(DeliveryRow), [{"id": make_id("msg"), **delivery} for _ in range(MANY)])
            entry = {
                "owner": "ada",
                "action": "é" * 64,
                "subject": "é" * 160,
                "key_id": "k" * 32,
                "created_at": now,
                "address": "a" * 64,
                "request_id": "r" * 128,
            }
            session.execute(insert(ActivityRow), [{"id": make_id("aud"), **entry} for _ in range(MANY)])
            revoked = {
                "owner": "ada",
                "secret_sha256": "0" * 64,
                "made_by": "k" * 32,
                "created_at": now,
                "revoked_at": now,
                "scopes": ["read", "write", "admin"],
            }
            session.execute(insert(KeyRow), [{"id": f"revoked-{number}", **revoked} for number in range(10 * MANY)])
            rows = [
                {"owner": "ada", "hour": hour - timedelta(hours=age), "kind": "train", "key_id": f"{key:032}"}
                for age in range(1, 24 * 30)
                for key in range(KEYS)
            ]
            session.execute(insert(UsageRow), rows)


def make_event(about: str, id_: str, number: int) -> dict[str, Any]:
    return {
        "subject_object": about,
        "subject_id": id_,
        "id": number,
        "owner": "ada",
        "type": f"{about}.warning",
        "level": "warning",
        "message": "é" * 2000,
        "data": {"why": "é" * 4000},
        "created_at": datetime.now(UTC),
    }


@pytest.fixture
def largest(client, worker, spec) -> Iterator[Largest]:
    """Fill the database. What exists by then is frozen, so that each later collection of garbage is fast."""
    made = Largest(client, worker, spec)
    gc.collect()
    gc.freeze()
    yield made
    gc.unfreeze()
    gc.collect()
    gc.freeze()  # as tests/conftest.py leaves it


def get_peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(client, url: str) -> tuple[httpx2.Response, float]:
    """Return the response, and by how many MiB this process grew at its peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # memory freed earlier would hide what is allocated now
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = get_peak_mib()
    answer = client.get(url)
    return answer, get_peak_mib() - before


@sqlite_only
def test_no_response_exceeds_two_megabytes_or_fifty_of_memory(app, client, largest):
    assert sum(len(name.encode()) for name in CLASSES) > 0.95 * MAX_CLASS_NAMES_BYTES
    paths = {path for path, operations in app.openapi()["paths"].items() if "get" in operations}
    assert paths == BOUNDED.keys() | UNBOUNDED.keys(), (
        "a route was added or removed: state the size of its responses here"
    )
    found: dict[str, tuple[int, int, float]] = {}
    for path, query in BOUNDED.items():
        url = (path + query).format(**largest.ids)
        answer, mib = measure(client, url)
        found[path] = (answer.status_code, len(answer.content), round(mib, 1))
    assert {path: answer for path, answer in found.items() if answer[0] not in {200, 204}} == {}
    assert {
        path: answer for path, answer in found.items() if answer[1] > MAX_ANSWER_BYTES or answer[2] > MAX_ANSWER_MIB
    } == {}
