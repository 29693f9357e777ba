"""Real trainings with one cause of poor test results each: the service names it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heldout.client.client import Client
from heldout.views.base import dump_json
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from models import bundled
from tests.e2e.running import Service, until, wait_for_end
from tests.e2e.stack import digits
from tests.merge_patch import merged

TRAIN, VALIDATION, TEST = 2000, 500, 1000
NETWORK = {"blocks": [{"filters": 16}, {"filters": 32}]}
Arrays = dict[str, np.ndarray]
Judged = dict[str, tuple[JobView, DiagnosisView]]


def _plain() -> Arrays:
    """Real digits in random order, cut into three splits."""
    images = bundled.BUNDLED["mnist5k"].read(Path("/nonexistent"))
    order = np.random.default_rng(7).permutation(len(images.labels))
    pixels, labels = np.asarray(images.images)[order, ..., 0], images.labels[order]
    parts = np.split(np.arange(TRAIN + VALIDATION + TEST), [TRAIN, TRAIN + VALIDATION])
    return {
        f"{axis}_{name}": values[rows]
        for name, rows in zip(("train", "val", "test"), parts, strict=True)
        for axis, values in (("x", pixels), ("y", labels))
    }


def _moved_by_one() -> Arrays:
    arrays = _plain()
    return arrays | {"y_test": (arrays["y_test"] + 1) % 10}


def _leaking() -> Arrays:
    arrays = _plain()
    for axis in ("x", "y"):
        arrays[f"{axis}_test"][:300] = arrays[f"{axis}_train"][:300]
    return arrays


@dataclass(frozen=True)
class Case:
    verdict: str
    arrays: Callable[[], Arrays] = _plain
    network: dict[str, Any] = field(default_factory=lambda: NETWORK)
    training: dict[str, Any] = field(default_factory=dict)


# Every other verdict is proven on recorded trainings, by tests/benchmarks/test_collection.py.
CASES = {
    "few images, many epochs": Case("too_little_data", training={"epochs": 60, "train_limit": 500}),
    "enough images, enough epochs": Case(
        "healthy",
        network=NETWORK | {"l2": 0.001},
        training={"epochs": 12, "optimizer": {"name": "adam", "learning_rate": 0.003}},
    ),
    "test images in training": Case("leakage", _leaking, training={"epochs": 6}),
    "labels of test moved by one": Case("label_order_mismatch", _moved_by_one, training={"epochs": 6}),
}


@pytest.fixture(scope="module")
def diagnoses(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Every case's job, ended, and its diagnosis, whose remedies can all be posted."""
    folder = tmp_path_factory.mktemp("doctor")
    with service.client() as client:
        # Cases with the same images share their dataset.
        case_of = {wanted.arrays: case for case, wanted in CASES.items()}
        uploaded = {arrays: _uploaded(client, case, folder) for arrays, case in case_of.items()}
        names = {case: uploaded[CASES[case].arrays] for case in CASES}
        for name in uploaded.values():
            until(lambda name=name: client.datasets.get(name).status == "ready", f"the ingest of {name}")
        submitted = {case: client.jobs.create(_spec(case, names[case])).id for case in names}
        found = {}
        for case, job_id in submitted.items():
            job = wait_for_end(client, job_id, within_s=240)
            found[case] = job, client.jobs.diagnosis(job_id)
            for finding in found[case][1].findings:
                for remedy in finding.remedies:
                    if remedy.patch is not None:
                        client.jobs.estimate(merged(dump_json(job.spec), remedy.patch))  # a 4xx would be an exception
    return found


def _uploaded(client: Client, case: str, folder: Path) -> str:
    name = case.replace(" ", "-").replace(",", "")
    path = folder / f"{name}.npz"
    np.savez(path, **CASES[case].arrays())
    client.datasets.upload(client.datasets.create({"name": name}).id, path)
    return name


def _spec(case: str, dataset: str) -> dict[str, Any]:
    wanted = CASES[case]
    training = {"batch_size": 32, "seed": 7, **wanted.training}
    return {"name": case, "dataset": dataset, "network": wanted.network, "training": training}


@pytest.mark.parametrize("case", CASES)
def test_the_cause_is_named(diagnoses, case: str) -> None:
    job, diagnosis = diagnoses[case]
    assert job.status == "succeeded", job.error
    codes = {finding.code: finding.severity for finding in diagnosis.findings}
    assert diagnosis.verdict == CASES[case].verdict, (codes, diagnosis.explanation)


def test_findings_carry_the_numbers_behind_them(diagnoses) -> None:
    evidence = {finding.code: finding.evidence for _, diagnosis in diagnoses.values() for finding in diagnosis.findings}
    overconfidence = evidence["overconfidence"]
    assert overconfidence["best_epoch"] < overconfidence["onset_epoch"] <= 60
    assert overconfidence["last"] > overconfidence["best"] > 0
    moved = {str(label): str((label + 9) % 10) for label in range(10)}
    assert evidence["label_order_mismatch"]["renamed"] == moved


def test_a_faulty_test_split_is_not_to_be_cured_by_another_training(diagnoses) -> None:
    verdict = diagnoses["labels of test moved by one"][1].findings[0]
    assert {remedy.name for remedy in verdict.remedies} == {"fix_data"}


def test_the_guard_ends_a_training_where_it_overfits_and_keeps_its_best_epoch(client: Client) -> None:
    fast = {"epochs": 60, "batch_size": 16, "train_limit": 100, "optimizer": {"name": "adam", "learning_rate": 0.01}}
    guarded = digits(on_overfit="stop_and_restore", **fast)
    guarded["network"] = {"blocks": [{"filters": 16}], "dense": [{"units": 64}]}
    job = wait_for_end(client, client.jobs.create(guarded).id)
    assert (job.status, job.stop_reason) == ("succeeded", "overfit_guard")
    [event] = [event for event in client.jobs.events(job.id) if event.type == "job.overfitting"]
    metrics = client.jobs.metrics(job.id)
    losses = [epoch.validation_loss for epoch in metrics.epochs]
    best = losses.index(min(losses)) + 1
    assert (event.level, event.data) == ("warning", {"epoch": len(losses), "best_epoch": best})
    assert len(losses) < 60
    assert metrics.final.epoch == best
    assert losses[-1] > losses[best - 1]
    # It stopped in time, or too early if the last epoch is clearly better on the test images.
    [finding] = [found for found in client.jobs.diagnosis(job.id).findings if "last_epoch" in found.evidence]
    assert finding.code in {"overfitting", "not_converged"}
    assert (finding.severity == "info") == (finding.code == "overfitting")
    cost = finding.evidence["last_epoch"]
    assert (cost["split"], cost["kept_epoch"], cost["epoch"]) == ("test", best, len(losses))
    assert cost["loss_interval"][0] <= cost["loss"] <= cost["loss_interval"][1]
    assert f"weights of epoch {len(losses)} are" in finding.explanation
    assert f"those of epoch {best}: " in finding.explanation
