"""A job's diagnosis from its stored files and rows, with and without the test split, and the summary in its row."""

import copy
import json
import random
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from sqlalchemy import update

from heldout.diagnosis import WITHOUT_TEST, Diagnosis
from heldout.diagnosis.findings import NOT_STARTED
from heldout.errors import DataFirst
from heldout.fixes.changes import VersionSpec
from heldout.fixes.leakage import make_leakage
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.lifecycle.resources import ModelStatus, SearchStatus
from heldout.remedies.change import RemedyBase
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import AuditFinding, SplitLabels, StoredSuspects, audit_key, make_suspects_key
from heldout.stored.looks import StoredLooks, make_looks_key
from heldout.stored.results import FinalView
from heldout.views.base import dump_json
from heldout.views.job import SummaryView
from models.blobs import Blobs
from models.database import db_now
from models.digests import FileDigest
from models.ids import make_id
from models.job_diagnosis import diagnose_job
from models.job_summary import complete_earlier, summarize_job
from models.proof_subject import list_patches
from models.specs import read_training_spec
from models.store import claims, file_digests
from models.store.artifacts import Artifact
from models.store.claims import HeldAttempt, Result
from models.study_base import pick_remedies, require_fixed
from models.tables import DatasetRow, JobRow, ModelRow
from tests.models.work import ALICE, Work, add_dataset

# tests/models/store reads the same rows on both databases.
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

FOCAL = {"loss": {"name": "focal"}}
LOSSES = [2.0, 1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.002]
TURNED = [2.0, 1.1, 0.7, 0.5, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8]
COPIES = {"images": 9, "exact": 9, "near": 0, "share": 0.3}


def finding(code: str, **numbers: Any) -> dict[str, Any]:
    return {"code": code, "severity": "critical", "numbers": numbers, "explanation": code, "what_to_do": "fix it"}


AUDIT = {
    "object": "audit",
    "sha256": "a" * 64,
    "splits": {split: {"count": 100, "per_class": [50, 50]} for split in ("train", "validation", "test")},
    "statistics": {},
    "findings": [
        finding("leakage", test_in_train=COPIES, validation_in_train={**COPIES, "share": 0.02}),
        finding("scale_mismatch", split="test", factor=255.0),
        finding("label_conflicts", images=12, share=0.1),
    ],
    "checks": {},
    "source": {},
}


def split_scores(right: int, wrong: int) -> dict[str, Any]:
    return {
        "confusion": [[right, wrong], [wrong, right]],
        "per_class": [{"count": right + wrong, "precision": 0.5, "recall": 0.5, "f1": 0.5}] * 2,
        "calibration_error": 0.1,
        "mistakes": [{"index": 4, "label": 0, "answer": 1, "probability": 0.9}],
    }


EVALUATION = {
    "classes": ["cat", "dog"],
    "splits": {"train": split_scores(495, 5), "validation": split_scores(180, 20), "test": split_scores(90, 110)},
    "last_epoch": {
        "epoch": 12,
        "kept_epoch": 5,
        "split": "test",
        "count": 400,
        "accuracy": {"difference": 0.1, "interval": [0.05, 0.15], "p": 0.001},
        "loss": {"difference": 0.5, "interval": [0.4, 0.6]},
    },
}


def figures(accuracy: float, count: int) -> dict[str, Any]:
    return {"loss": 1 - accuracy, "accuracy": accuracy, "count": count, "interval": [0.0, 1.0]}


def tally(right: int, count: int) -> dict[str, Any]:
    return {"count": count, "correct": right, "loss": 2 - right / count, "loss_variance": 1.0}


GAP = {
    "kept_epoch": 5,
    "epochs": 12,
    "train": tally(990, 1000),
    "validation": tally(360, 400),
    "test": tally(180, 400),
    "validation_copies": {"clean": tally(350, 390), "copied": tally(10, 10)},
    "test_copies": {"clean": tally(60, 280), "copied": tally(120, 120)},
}

FINAL = {
    "epoch": 5,
    "train": figures(0.99, 1000),
    "validation": figures(0.9, 400),
    "test": figures(0.45, 400),
    "gap": {"validation": {"accuracy": 0.09, "loss": 0.09}, "test": {"accuracy": 0.54, "loss": 0.54}},
}


BEST = {"epoch": 5, "validation_loss": 0.45, "validation_accuracy": pytest.approx(0.855)}


@dataclass
class Stored:
    """Everything that a trained job has left, as files and figures that a test can change before they are stored."""

    work: Work
    blobs: Blobs
    dataset_id: str

    def trained(
        self,
        *,
        measured: bool = True,
        training: dict[str, Any] | None = None,
        **parts: Any,
    ) -> HeldAttempt:
        """Claim a job on an uploaded dataset and record its epochs. It has not ended."""
        with self.work.database.read() as session:
            dataset = session.get_one(DatasetRow, self.dataset_id)
        job_id = self.work.submit(dataset=dataset, training={"seed": 1, "epochs": 12} | (training or {}), **parts)
        claimed = self.work.claim()
        assert claimed is not None
        assert claimed.held.job_id == job_id
        for epoch, (loss, validation) in enumerate(zip(LOSSES, TURNED, strict=True), 1):
            figures = {
                "train_loss": loss if measured else None,
                "train_accuracy": 1 - loss / 4 if measured else None,
                "fit_loss": loss,
                "fit_accuracy": 1 - loss / 4,
                "validation_loss": validation,
                "validation_accuracy": 0.9 - validation / 10,
                "test_loss": 9.0,
                "test_accuracy": 0.5,
            }
            self.work.epoch(claimed.held, epoch, **figures)
        return claimed.held

    def result(
        self, held: HeldAttempt, final: dict[str, Any] = FINAL, evaluation: Any = EVALUATION, gap: Any = None
    ) -> Result:
        files = [Artifact(ArtifactName.EVALUATION, ArtifactFormat.JSON, self.put(held, "evaluation.json", evaluation))]
        if gap is not None:
            files.append(Artifact(ArtifactName.GAP, ArtifactFormat.JSON, self.put(held, "gap.json", gap)))
        return Result(FinalView.model_validate(final), tuple(files))

    def put(self, held: HeldAttempt, name: str, content: Any) -> str:
        """Store a file of the job, unless it has no content, and return its key."""
        key = f"jobs/{held.job_id}/{held.attempt}/{name}"
        if content is not None:
            self.blobs.put(key, json.dumps(content).encode())
        return key

    def audit(self, audit: dict[str, Any]) -> None:
        self.blobs.put(audit_key(self.dataset_id), json.dumps(audit).encode())

    def succeed(self, held: HeldAttempt, result: Result) -> None:
        with self.work.database.write() as session:
            status = claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
        assert status is JobStatus.SUCCEEDED

    def diagnosis(self, held: HeldAttempt, **options: Any) -> Diagnosis:
        with self.work.database.read() as session:
            return diagnose_job(session, self.blobs, session.get_one(JobRow, held.job_id), **options)

    def summary(self, held: HeldAttempt, result: Result | None = None) -> SummaryView:
        with self.work.database.read() as session:
            summary = summarize_job(session, self.blobs, held.job_id, result)
        assert summary is not None
        return summary


@pytest.fixture
def stored(work: Work, tmp_path) -> Stored:
    dataset_id = add_dataset(work.database, "pets", ALICE)
    with work.database.write() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == dataset_id).values(classes=["cat", "dog"]))
    found = Stored(work, Blobs((tmp_path / "blobs").as_uri()), dataset_id)
    found.audit(AUDIT)
    return found


def codes_of(diagnosis: Diagnosis) -> set[str]:
    return {found.code for found in diagnosis.findings}


# --- what the diagnosis uses -----------------------------------------------------------------------


@pytest.mark.parametrize(("verdict", "is_found"), [("can_tell", True), ("too_hard", False), (None, False)])
def test_the_diagnosis_uses_wrong_labels_if_the_search_can_tell(stored: Stored, verdict: str | None, is_found: bool):
    held = stored.trained()
    stored.succeed(held, stored.result(held))
    many = SplitLabels(images=100, count=30, low=20, high=40)
    found = StoredSuspects(
        images=100, agreement=0.9, verdict=verdict, wrong=many, splits={"test": many}, suspects=(), networks=8,
        trained_on=75, seen_as=(8, 8),
    )  # fmt: skip
    assert "label_noise" not in codes_of(stored.diagnosis(held))
    stored.blobs.put(make_suspects_key(stored.dataset_id), found.to_bytes())
    with stored.work.database.write() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == stored.dataset_id).values(suspects_status="stored"))
    assert ("label_noise" in codes_of(stored.diagnosis(held))) == is_found
    assert "label_noise" not in codes_of(stored.diagnosis(held, splits=WITHOUT_TEST))
    stored.blobs.delete(make_suspects_key(stored.dataset_id))
    assert [error.code for error in stored.diagnosis(held).left_out] == ["dataset_lost"]


@pytest.mark.parametrize("at_ingest", [True, False])
def test_copies_that_features_found_count_like_those_of_the_audit(stored: Stored, at_ingest: bool):
    known = AUDIT["findings"] if at_ingest else AUDIT["findings"][1:]
    stored.audit({**AUDIT, "findings": known})
    held = stored.trained()
    assert ("leakage" in codes_of(stored.diagnosis(held))) == at_ingest
    none = {"images": 0, "exact": 0, "near": 0, "by_features": 0}
    of_test = {**none, "images": 5, "near": 5, "how": {"turned": 5}, "by_features": 5}
    counts = dict.fromkeys(("train", "validation", "test"), 100)
    found = make_leakage({"test_in_train": of_test, "validation_in_train": none, "test_in_validation": none}, counts)
    looks = StoredLooks(
        model="net", model_sha256="0" * 64, images=300, sampled=300, seen_as=(64, 64), leakage=found,
    )  # fmt: skip
    stored.blobs.put(make_looks_key(stored.dataset_id), looks.to_bytes())
    with stored.work.database.write() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == stored.dataset_id).values(features_status="stored"))
    [leak] = [finding for finding in stored.diagnosis(held).findings if finding.code == "leakage"]
    assert leak.evidence["test_in_train"]["images"] == (14 if at_ingest else 5)
    assert leak.evidence["test_in_train"]["how"] == {"turned": 5}
    marked = "5 of these were found by features" if at_ingest else "They were found by features"
    assert marked in leak.explanation
    assert leak.fix == {"drop_copies": True}


def test_the_diagnosis_uses_curves_counts_audit_and_spec(stored: Stored):
    held = stored.trained()
    running = stored.diagnosis(held)
    assert {"leakage", "scale_mismatch", "label_conflicts", "overfitting"} <= codes_of(running)
    assert "collapsed_class" not in codes_of(running)
    assert any(remedy.patch for found in running.findings for remedy in found.remedies)
    stored.succeed(held, stored.result(held))
    ended = stored.diagnosis(held)
    [overfitting] = [found for found in ended.findings if found.code == "overfitting"]
    assert "last_epoch" in overfitting.evidence


def test_a_training_measured_only_at_the_end_is_judged_by_what_fit_reports_and_the_diagnosis_says_so(
    stored: Stored,
):
    measured = stored.diagnosis(stored.trained())
    held = stored.trained(measured=False, evaluation={"train": "final"})
    ended = stored.diagnosis(held)
    assert "`evaluation.train` is `final`" in ended.explanation
    assert "`evaluation.train`" not in measured.explanation
    assert (ended.best_epoch, ended.onset_epoch) == (measured.best_epoch, measured.onset_epoch)
    assert "overfitting" in codes_of(ended)


def test_a_focal_loss_of_fit_is_not_compared_with_the_cross_entropy_of_validation(stored: Stored):
    at_end = {"measured": False, "evaluation": {"train": "final"}}
    by_loss, by_accuracy = (
        stored.diagnosis(stored.trained(**at_end)),
        stored.diagnosis(stored.trained(**at_end, training=FOCAL)),
    )
    assert by_loss.best_epoch != by_accuracy.best_epoch or by_loss.findings != by_accuracy.findings
    measured = stored.diagnosis(stored.trained(training=FOCAL))
    assert measured.best_epoch == by_loss.best_epoch


def test_a_result_that_is_not_stored_yet_is_judged_as_it_will_be(stored: Stored):
    held = stored.trained()
    result = stored.result(held)
    before = stored.diagnosis(held, result=result)
    assert before != stored.diagnosis(held)
    stored.succeed(held, result)
    assert stored.diagnosis(held) == before


def test_a_job_that_trains_on_its_validation_images_has_no_best_epoch_and_has_not_diverged(stored: Stored):
    stored.audit({**AUDIT, "findings": []})
    with stored.work.database.read() as session:
        dataset = session.get_one(DatasetRow, stored.dataset_id)
    stored.work.submit(dataset=dataset, training={"seed": 1, "epochs": 12}, validation={"use": "train"})
    held = stored.work.claim().held
    for epoch, loss in enumerate(LOSSES, 1):
        stored.work.epoch(held, epoch, train_loss=loss, train_accuracy=1 - loss / 4, fit_loss=loss)
    nothing = {"validation": None, "test": None}
    result = stored.result(held, {**FINAL, "epoch": 12, **nothing, "gap": nothing}, evaluation=None)
    for diagnosis in (stored.diagnosis(held), stored.diagnosis(held, result=result)):
        assert (diagnosis.verdict, diagnosis.best_epoch) == ("cannot_tell", None)
        assert "trained on its validation images" in diagnosis.explanation
        assert not [
            remedy for finding in diagnosis.findings for remedy in finding.remedies if remedy.name == "early_stopping"
        ]
    summary = stored.summary(held, result)
    assert (summary.best, summary.gap.validation, summary.gap.test) == (None, None, None)


def test_a_result_of_an_early_release_is_judged_without_counts_by_class(stored: Stored):
    held = stored.trained()
    stored.succeed(held, stored.result(held, evaluation=None))
    found = stored.diagnosis(held)
    assert {"leakage", "overfitting"} <= codes_of(found)
    assert all("last_epoch" not in cause.evidence for cause in found.findings)


def test_the_gap_is_reported_from_the_moment_a_training_is_about_to_succeed(stored: Stored):
    held = stored.trained()
    assert stored.diagnosis(held).gap is None
    result = stored.result(held, gap=GAP)
    before = stored.diagnosis(held, result=result)
    stored.succeed(held, result)
    found = stored.diagnosis(held)
    assert found == before
    assert found.gap is not None
    assert sum(term.accuracy for term in found.gap.terms) == pytest.approx(0.99 - 0.45)
    assert found.explanation.startswith("Test accuracy (45.0%) is 54 points below training accuracy (99.0%)")


@pytest.mark.parametrize("is_lost", [False, True], ids=["never stored", "lost"])
def test_a_result_of_an_older_release_has_no_gap(stored: Stored, is_lost: bool):
    held = stored.trained()
    result = stored.result(held)
    if is_lost:
        key = f"jobs/{held.job_id}/{held.attempt}/gap.json"
        gone = Artifact(ArtifactName.GAP, ArtifactFormat.JSON, key)
        result = Result(result.final, (*result.artifacts, gone))
    stored.succeed(held, result)
    found = stored.diagnosis(held)
    assert found.gap is None
    assert all(cause.explains is None for cause in found.findings)


# --- without the test split --------------------------------------------------------------------------


def pixels_undone(gained: int) -> dict[str, Any]:
    change = {"count": 280, "gained": gained, "lost": 0, "loss": -0.1, "loss_variance": 1.0}
    choices, parameters = ["brightness", "brightness"], [{"factor": 0.5}, {}]
    return {"choices": choices, "parameters": parameters, "tally": tally(gained, 280), "change": change}


def without_test(stored: Stored, draw: random.Random | None) -> bytes:
    """Return the diagnosis for automatic choices, as bytes. With `draw`, everything about test is random."""
    audit, evaluation, final, gap = (copy.deepcopy(part) for part in (AUDIT, EVALUATION, FINAL, GAP))
    if draw is not None:
        leakage, scale, conflicts = audit["findings"]
        leakage["numbers"]["test_in_train"] = {**COPIES, "images": draw.randrange(500), "share": draw.random()}
        audit["findings"] = [known for known in (leakage, scale, conflicts) if known is leakage or draw.random() < 0.5]
        audit["findings"] += [
            finding(code, split="test", distance=draw.random())
            for code in ("split_shift", "label_order_mismatch", "test_too_small", "inverted_values")
            if draw.random() < 0.5
        ]
        draw.shuffle(audit["findings"])
        audit["splits"]["test"] = {"count": draw.randrange(9999), "per_class": [1, 2]}
        final["test"] = draw.choice([None, figures(draw.random(), draw.randrange(1, 5000))])
        final["gap"]["test"] = {"accuracy": draw.random(), "loss": draw.random()}
        evaluation["splits"]["test"] = split_scores(draw.randrange(2000), draw.randrange(2000))
        if draw.random() < 0.3:
            del evaluation["splits"]["test"]
        low = draw.uniform(-1, 1)
        evaluation["last_epoch"]["loss"] = {"difference": low + 0.1, "interval": [low, low + 0.2]}
        if draw.random() < 0.3:
            del evaluation["last_epoch"]
        gap |= {
            "test": draw.choice([None, tally(draw.randrange(400), 400)]),
            "test_copies": draw.choice([None, {"clean": tally(draw.randrange(280), 280), "copied": tally(100, 120)}]),
            "pixels": draw.choice([None, pixels_undone(draw.randrange(280))]),
        }
    stored.audit(audit)
    held = stored.trained()
    if draw is not None:
        for epoch in range(1, len(LOSSES) + 1):
            stored.work.set_epoch(held, epoch, test_loss=draw.random(), test_accuracy=draw.random())
    stored.succeed(held, stored.result(held, final, evaluation, gap))
    with stored.work.database.read() as session:
        job = session.get_one(JobRow, held.job_id)
        base = RemedyBase(read_training_spec(job).model_dump(mode="json"), 100)
        remedies = pick_remedies(session, stored.blobs, base, job)
    return repr((remedies, stored.diagnosis(held, splits=WITHOUT_TEST))).encode()


def test_without_the_test_split_no_fact_about_it_changes_the_diagnosis(stored: Stored):
    expected = without_test(stored, None)
    assert b"leakage" in expected
    assert b"overfitting" in expected
    assert b"horizontal_flip" in expected
    assert b"gap=None" in expected
    for seed in range(12):
        assert without_test(stored, random.Random(seed)) == expected


def test_without_the_test_split_validation_still_matters(stored: Stored):
    """Otherwise the test above would pass if all figures were ignored."""
    held = stored.trained()
    worse, better = (
        stored.diagnosis(
            held,
            splits=WITHOUT_TEST,
            result=stored.result(held, FINAL | {"train": figures(0.8, 1000), "validation": figures(validation, 400)}),
        )
        for validation in (0.78, 0.95)
    )
    assert "label_noise" in {finding.code for finding in better.findings}
    assert asdict(better) != asdict(worse)


# --- pretrained features ------------------------------------------------------------------------------

IN_COLOR = {"train": {"channels": [{"p01": 3.0, "median": 120.0, "p99": 250.0}] * 3}}


def add_shared_network(stored: Stored, status: ModelStatus) -> None:
    about = {
        "id": make_id("mod"),
        "name": "efficientnet_lite0",
        "status": status,
        "size_bytes": 1,
        "check_job": "job_1",
    }
    with stored.work.database.write() as session:
        session.add(ModelRow(**about, key="models/1/shared", sha256="b" * 64, created_at=db_now()))


def offers_pretrained(stored: Stored, held: HeldAttempt) -> bool:
    """Return whether the diagnosis offers pretrained features, after checking that a study tries them just then."""
    found = [remedy for finding in stored.diagnosis(held).findings for remedy in finding.remedies]
    offered = [remedy for remedy in found if remedy.name == "pretrained"]
    assert all(remedy.patch["network"]["backbone"]["model"] == "efficientnet_lite0" for remedy in offered)
    with stored.work.database.read() as session:
        job = session.get_one(JobRow, held.job_id)
        base = RemedyBase(read_training_spec(job).model_dump(mode="json"), 100)
        tried = pick_remedies(session, stored.blobs, base, job)
    assert ("pretrained" in tried[:1]) == bool(offered)
    return bool(offered)


def test_pretrained_features_are_offered_for_photographs_if_the_service_has_its_network(stored: Stored):
    with stored.work.database.write() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id == stored.dataset_id).values(shape=[64, 64, 3]))
    stored.audit(AUDIT | {"statistics": IN_COLOR, "findings": []})
    held = stored.trained()
    assert not offers_pretrained(stored, held)
    add_shared_network(stored, ModelStatus.CHECKING)
    assert not offers_pretrained(stored, held)
    add_shared_network(stored, ModelStatus.READY)
    assert offers_pretrained(stored, held)
    # They help whatever the cause was, so an experiment with them would prove nothing.
    assert list(list_patches(stored.diagnosis(held))) == ["early_stopping", "augmentation"]
    stored.audit(AUDIT | {"findings": []})
    assert not offers_pretrained(stored, held)


# --- what comes before remedies ----------------------------------------------------------------------

BRIGHT = {"factor": 1.0, "offset": 40.0}


def refusal(stored: Stored, audit: list[dict[str, Any]], gap: dict[str, Any] | None = None) -> DataFirst | None:
    """Return why a study of a job on this dataset is refused."""
    stored.audit(AUDIT | {"findings": audit})
    held = stored.trained()
    stored.succeed(held, stored.result(held, gap=gap))
    with stored.work.database.read() as session:
        try:
            require_fixed(session, stored.blobs, session.get_one(JobRow, held.job_id))
        except DataFirst as error:
            return error
    return None


def test_a_study_begins_only_on_sound_data(stored: Stored):
    leak = finding("leakage", validation_in_train=COPIES)
    order = finding("label_order_mismatch", split="test", renamed={"cat": "dog", "dog": "cat"})
    bright = finding("scale_mismatch", split="test", undone_by={"test": BRIGHT})
    refused = refusal(stored, [leak, order, bright])
    assert refused is not None
    assert refused.request == {
        "method": "POST",
        "path": f"/v1/datasets/{stored.dataset_id}/versions",
        "body": {
            "drop_copies": True,
            "rename_classes": {"test": {"cat": "dog", "dog": "cat"}},
            "pixel_values": {"test": BRIGHT},
        },
    }
    assert json.dumps(refused.request["body"]["pixel_values"]) in refused.detail
    assert [error.detail.partition(":")[0] for error in refused.errors] == [
        "leakage",
        "scale_mismatch",
        "label_order_mismatch",
    ]
    VersionSpec.model_validate(refused.request["body"])


def test_a_fault_that_only_a_training_measured_is_also_fixed_first(stored: Stored):
    undone = pixels_undone(200) | {"parameters": [{"factor": 0.5}, {"factor": 0.5}]}
    refused = refusal(stored, [], GAP | {"pixels": undone, "validation_copies": None, "test_copies": None})
    assert refused is not None
    assert refused.request["body"] == {"pixel_values": {"test": {"factor": 0.5}}}
    unknown = refusal(stored, [finding("scale_mismatch", split="test", factor=255.0)])
    assert unknown is not None
    assert unknown.request is None
    assert "/diagnosis says what to fix" in unknown.detail


def test_a_study_begins_if_no_fix_would_change_its_answer(stored: Stored):
    few = finding("leakage", validation_in_train={**COPIES, "share": 0.001}) | {"severity": "warning"}
    other_images = finding("split_shift", split="test", distance=0.9)
    assert refusal(stored, [few, other_images, finding("class_imbalance", **IMBALANCE)]) is None


def test_a_study_is_refused_only_for_faults_whose_measured_cost_is_certain(stored: Stored):
    leak = finding("leakage", test_in_train=COPIES)
    costly = refusal(stored, [leak], GAP)
    assert costly is not None
    assert costly.request["body"] == {"resplit": True}, "the splits also differ"
    # There are as many copies, but they are few and the network is no better on them than on other images.
    harmless = {"clean": tally(340, 388), "copied": tally(11, 12)}
    free = GAP | {"test": tally(351, 400), "test_copies": harmless, "validation_copies": None}
    assert refusal(stored, [leak], free) is None


IMBALANCE = {"smallest": {"class": "cat", "count": 1}, "largest": {"class": "dog", "count": 99}}

# --- the summary -------------------------------------------------------------------------------------


def test_a_summary_has_the_best_epoch_gap_and_verdict_of_the_routes(stored: Stored):
    held = stored.trained()
    result = stored.result(held)
    summary = stored.summary(held, result)
    stored.succeed(held, result)
    diagnosis = stored.diagnosis(held)
    assert dump_json(summary) == {
        "best": BEST,
        "most_accurate": BEST,
        "gap": FINAL["gap"],
        "test_accuracy": FINAL["test"]["accuracy"],
        "verdict": diagnosis.verdict,
        "headline": diagnosis.headline,
    }
    assert diagnosis.best_epoch == 5


def test_a_job_that_fails_has_a_summary_of_its_epochs(stored: Stored):
    held = stored.trained()
    diagnosis = stored.diagnosis(held)
    assert dump_json(stored.summary(held)) == {
        "best": BEST,
        "most_accurate": BEST,
        "gap": None,
        "test_accuracy": None,
        "verdict": diagnosis.verdict,
        "headline": diagnosis.headline,
    }


def test_a_diagnosis_that_breaks_leaves_the_verdict_unknown(stored: Stored):
    held = stored.trained()
    result = stored.result(held)
    stored.blobs.put(audit_key(stored.dataset_id), b'{"format": 2}')  # from a later release
    summary = stored.summary(held, result)
    assert summary.best is not None
    assert summary.gap is not None
    assert (summary.verdict, summary.best.epoch, dump_json(summary.gap)) == (None, 5, FINAL["gap"])


@pytest.mark.parametrize("damaged", [b"{", b"[]"])
def test_a_diagnosis_reports_a_lost_or_damaged_audit_and_a_summary_has_no_verdict(stored: Stored, damaged: bytes):
    held = stored.trained()
    result = stored.result(held)
    assert stored.summary(held, result).verdict is not None
    assert stored.diagnosis(held, result=result).left_out == ()
    key = audit_key(stored.dataset_id)
    stored.blobs.put(key, damaged)
    assert [error.code for error in stored.diagnosis(held, result=result).left_out] == ["dataset_damaged"]
    assert stored.summary(held, result).verdict is None
    stored.blobs.delete(key)
    # An audit without a digest may never have existed, as in homes from before uploads were checked.
    assert stored.diagnosis(held, result=result).left_out == ()
    with stored.work.database.write() as session:
        file_digests.note(session, {key: FileDigest(2, "0" * 64)})
    assert [error.code for error in stored.diagnosis(held, result=result).left_out] == ["dataset_lost"]
    assert stored.summary(held, result).verdict is None


def test_a_job_without_an_epoch_has_an_empty_summary(work: Work, tmp_path):
    held = work.running()
    with work.database.read() as session:
        summary = summarize_job(session, Blobs((tmp_path / "blobs").as_uri()), held.job_id)
    assert summary is not None
    assert summary.headline
    assert summary == SummaryView(verdict="cannot_tell", headline=summary.headline)


def test_summaries_of_an_earlier_release_are_completed(stored: Stored):
    """Rows lack what this release added. The reference is the summary that the same job gets today."""
    held = stored.trained()
    result = stored.result(held)
    summary = stored.summary(held, result)
    with stored.work.database.write() as session:
        claims.note_summary(session, held, summary)
    stored.succeed(held, result)
    today = stored.work.row(held.job_id).summary
    assert today["headline"]
    assert today["test_accuracy"]
    earlier = {name: today[name] for name in ("best", "gap", "verdict")}
    stored.work.set(held.job_id, summary=earlier)
    assert complete_earlier(stored.work.database, stored.blobs, before=held.job_id) is None
    assert stored.work.row(held.job_id).summary == earlier
    assert complete_earlier(stored.work.database, stored.blobs, before=make_id("job")) is None
    assert stored.work.row(held.job_id).summary == today


def test_a_summary_is_kept_only_if_the_job_has_ended(work: Work):
    """It is written in the transaction that ends the job. An attempt that does not end the job leaves none."""
    held = work.running()
    for end, status in ((claims.release, JobStatus.QUEUED), (fail, JobStatus.FAILED)):
        with work.database.write() as session:
            claims.note_summary(session, held, SummaryView(verdict="healthy"))
            assert end(session, held) is status
        if status is JobStatus.QUEUED:
            assert work.row(held.job_id).summary is None
            held = work.claim().held
    assert work.row(held.job_id).summary == SummaryView(verdict="healthy").model_dump()
    with work.unchanged(held.job_id), work.database.write() as session:
        claims.note_summary(session, held, SummaryView(verdict="overfitting"))  # this attempt no longer holds the job


def fail(session, held: HeldAttempt) -> JobStatus:
    return claims.fail(session, held, code="diverged", detail="NaN")


def test_a_job_that_waits_for_its_first_epoch_is_not_judged(stored: Stored):
    job_id = stored.work.submit()
    with stored.work.database.read() as session:
        found = diagnose_job(session, stored.blobs, session.get_one(JobRow, job_id))
    assert found is NOT_STARTED
    assert (found.verdict, found.headline) == ("cannot_tell", "This job has not started.")
    assert (found.findings, found.causes, found.confidence) == ((), (), None)


def test_groups_that_features_confirm_count_in_the_diagnosis_but_change_no_file_of_the_job(stored):
    named = {"named_family": 40.0, "named_by": "(patient[0-9]+)_"}
    gap = GAP | {"validation_copies": {**GAP["validation_copies"], **named}}
    held = stored.trained()
    stored.succeed(held, stored.result(held, gap=gap))
    before = stored.diagnosis(held).gap
    finding = AuditFinding(
        code="names_suggest_groups",
        severity="info",
        numbers={"rule": named["named_by"]},
        explanation="They look as if.",
        what_to_do="Split again.",
    )
    looks = StoredLooks(model="net", model_sha256="0" * 64, images=9, sampled=9, seen_as=(64, 64), findings=(finding,))
    stored.blobs.put(make_looks_key(stored.dataset_id), looks.to_bytes())
    with stored.work.database.write() as session:
        session.get_one(DatasetRow, stored.dataset_id).features_status = SearchStatus.STORED
    after = stored.diagnosis(held).gap
    assert (before.found_groups, after.found_groups) == (None, named["named_by"])
    assert after.family == 40.0 > before.family
    assert [term.accuracy for term in after.terms] == [term.accuracy for term in before.terms]
