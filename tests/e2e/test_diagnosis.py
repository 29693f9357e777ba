"""Real trainings with one cause of poor test results each: the service names it."""

from pathlib import Path

import numpy as np
import pytest

from heldout.client.client import Client
from heldout.views.base import dump_json
from heldout.views.diagnosis import DiagnosisView
from models import bundled
from tests.e2e.running import Service, list_label_reads, make_validation_reads, wait_for_end
from tests.e2e.stack import digits
from tests.merge_patch import merged

TRAIN, VALIDATION, TEST = 2000, 500, 1000
NETWORK = {"blocks": [{"filters": 16}, {"filters": 32}]}
Arrays = dict[str, np.ndarray]


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


# Every other verdict is proven on recorded trainings, by tests/benchmarks/test_collection.py.
CASES = {"leakage": _leaking, "label_order_mismatch": _moved_by_one}


@pytest.fixture(scope="module")
def diagnoses(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, DiagnosisView]:
    """The diagnosis of a job for each fault, whose remedies can all be posted."""
    folder, submitted, found = tmp_path_factory.mktemp("doctor"), {}, {}
    with service.client() as client:
        for verdict, make_arrays in CASES.items():
            np.savez(folder / f"{verdict}.npz", **make_arrays())
            client.datasets.push(folder / f"{verdict}.npz", name=verdict)
            spec = {"dataset": verdict, "network": NETWORK, "training": {"epochs": 6, "batch_size": 32, "seed": 7}}
            submitted[verdict] = client.jobs.create(spec).id
        for verdict, job_id in submitted.items():
            job = wait_for_end(client, job_id)
            assert job.status == "succeeded", job.error
            found[verdict] = client.jobs.diagnosis(job_id)
            for finding in found[verdict].findings:
                for remedy in finding.remedies:
                    if remedy.patch is not None:
                        client.jobs.estimate(merged(dump_json(job.spec), remedy.patch))  # a 4xx would be an exception
    return found


@pytest.mark.parametrize("verdict", CASES)
def test_the_cause_is_named(diagnoses, verdict: str) -> None:
    diagnosis = diagnoses[verdict]
    assert diagnosis.verdict == verdict, ([finding.code for finding in diagnosis.findings], diagnosis.explanation)


def test_wrong_names_of_test_are_listed_and_not_to_be_cured_by_another_training(diagnoses) -> None:
    finding = diagnoses["label_order_mismatch"].findings[0]
    assert finding.evidence["renamed"] == {str(label): str((label + 9) % 10) for label in range(10)}
    assert {remedy.name for remedy in finding.remedies} == {"fix_data"}


def test_the_guard_ends_a_training_where_it_overfits_and_keeps_its_best_epoch(service: Service, client: Client) -> None:
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
    test_reads = [("test", best, "measured"), ("test", len(losses), "measured")]
    assert list_label_reads(service, job.id) == [*test_reads, *make_validation_reads(len(losses), "selected")]
    # It stopped in time, or too early if the last epoch is clearly better on the test images.
    [finding] = [found for found in client.jobs.diagnosis(job.id).findings if "last_epoch" in found.evidence]
    assert finding.code in {"overfitting", "not_converged"}
    assert (finding.severity == "info") == (finding.code == "overfitting")
    cost = finding.evidence["last_epoch"]
    assert (cost["split"], cost["kept_epoch"], cost["epoch"]) == ("test", best, len(losses))
    assert cost["loss_interval"][0] <= cost["loss"] <= cost["loss_interval"][1]
    assert f"weights of epoch {len(losses)} are" in finding.explanation
    assert f"those of epoch {best}: " in finding.explanation
