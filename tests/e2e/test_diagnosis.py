"""Each cause of poor test results, brought about for real: what the service says of a training that has it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image, ImageFilter

from heldout.client.client import Client
from heldout.views.base import as_json
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from models import bundled
from tests.e2e.running import Service, ended, until
from tests.e2e.stack import digits
from tests.merge_patch import merged

DIGITS_FILE = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"
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


def _with(**changes: Callable[[np.ndarray], np.ndarray]) -> Callable[[], Arrays]:
    def made() -> Arrays:
        arrays = _plain()
        return arrays | {name: change(arrays[name]) for name, change in changes.items()}

    return made


def _shuffled() -> Arrays:
    arrays, random = _plain(), np.random.default_rng(1)
    return arrays | {name: random.permutation(arrays[name]) for name in ("y_train", "y_val", "y_test")}


def _noisy() -> Arrays:
    arrays, random = _plain(), np.random.default_rng(1)
    wrong = random.random(TRAIN) < 0.3
    return arrays | {"y_train": np.where(wrong, random.integers(0, 10, TRAIN), arrays["y_train"])}


def _leaking() -> Arrays:
    arrays = _plain()
    for axis in ("x", "y"):
        arrays[f"{axis}_test"][:300] = arrays[f"{axis}_train"][:300]
    return arrays


def _conflicting() -> Arrays:
    arrays = _plain()
    arrays["x_train"][:200] = arrays["x_train"][200:400]
    arrays["y_train"][:200] = (arrays["y_train"][200:400] + 1) % 10
    return arrays


def _rare() -> Arrays:
    """Class 8 keeps a fiftieth of its training images."""
    arrays = _plain()
    eights = np.flatnonzero(arrays["y_train"] == 8)
    kept = np.delete(np.arange(TRAIN), eights[len(eights) // 50 + 1 :])
    return arrays | {"x_train": arrays["x_train"][kept], "y_train": arrays["y_train"][kept]}


def _few_tests() -> Arrays:
    arrays = _plain()
    return arrays | {name: arrays[name][:40] for name in ("x_test", "y_test")}


def _blurred(pixels: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(2.5))) for one in pixels])


@dataclass(frozen=True)
class Case:
    verdict: str
    arrays: Callable[[], Arrays] = _plain
    network: dict[str, Any] = field(default_factory=lambda: NETWORK)
    training: dict[str, Any] = field(default_factory=dict)
    status: str = "succeeded"
    augmentation: dict[str, Any] | None = None


PENALISED = NETWORK | {"l2": 0.001}
DROPPING = {"blocks": [{"filters": 16, "dropout": 0.6}, {"filters": 32, "dropout": 0.7}]}
ONE_FILTER = {"blocks": [{"filters": 1, "pool": 4}], "head": "global_average"}
SMALL_STEP = {"name": "adam", "learning_rate": 3e-5}
FIRM_STEP = {"name": "adam", "learning_rate": 0.003}
LARGE_STEP = {"name": "adam", "learning_rate": 0.02}
# A penalty of 1 at a rate of 1 turns each weight into its negative; momentum makes that grow without end.
HUGE_STEP = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.99}
ENDING = {"name": "cosine"}
TURNED = {"rotation_degrees": 30, "width_shift": 0.15, "height_shift": 0.15, "zoom": 0.2}
SIX = {"epochs": 6}
TWELVE = {"epochs": 12, "optimizer": FIRM_STEP}

CASES = {
    "few images, many epochs": Case("too_little_data", training={"epochs": 60, "train_limit": 500}),
    "enough images, enough epochs": Case("healthy", network=PENALISED, training=TWELVE),
    "a small step": Case("not_converged", training={"epochs": 8, "optimizer": SMALL_STEP}),
    "one filter": Case(
        "underfitting", network=ONE_FILTER, training={"epochs": 30, "optimizer": LARGE_STEP, "schedule": ENDING}
    ),
    "a huge step": Case(
        "diverged", network=NETWORK | {"l2": 1.0}, training={"epochs": 20, "optimizer": HUGE_STEP}, status="failed"
    ),
    "shuffled labels": Case("memorised_noise", _shuffled, training={"epochs": 40, "train_limit": 500}),
    # After six epochs the validation loss still falls, and that is said first.
    "wrong labels in training": Case("label_noise", _noisy, PENALISED, {"epochs": 12}),
    "heavy dropout": Case("metric_artefact", network=DROPPING, training={"epochs": 16, "schedule": ENDING}),
    "heavy augmentation": Case(
        "metric_artefact",
        network=PENALISED,
        training={"epochs": 24, "optimizer": FIRM_STEP, "schedule": ENDING},
        augmentation=TURNED,
    ),
    "test images in training": Case("leakage", _leaking, training=SIX),
    "two labels for a picture": Case("label_conflicts", _conflicting, training=SIX),
    "test scaled to 0 to 1": Case("scale_mismatch", _with(x_test=lambda x: (x / 255).round().astype(np.uint8))),
    "test inverted": Case("scale_mismatch", _with(x_test=lambda x: 255 - x), training=SIX),
    "test blurred": Case("split_shift", _with(x_test=_blurred), training=SIX),
    "labels of test moved by one": Case("label_order_mismatch", _with(y_test=lambda y: (y + 1) % 10), training=SIX),
    "a rare class": Case("collapsed_class", _rare, training={"epochs": 4, "optimizer": FIRM_STEP}),
    "forty test images": Case("test_too_small", _few_tests, PENALISED, TWELVE),
}


# In every run; the others are proofs.
ALWAYS = (
    "few images, many epochs",
    "enough images, enough epochs",
    "labels of test moved by one",
    "test images in training",
)
EVERY = [pytest.param(case, marks=[] if case in ALWAYS else [pytest.mark.proof]) for case in CASES]


@pytest.fixture(scope="module")
def wanted(request: pytest.FixtureRequest) -> list[str]:
    """The cases that this run asks for."""
    return [item.callspec.params["case"] for item in request.session.items if "diagnoses" in item.fixturenames]


@pytest.fixture(scope="module")
def diagnoses(wanted: list[str], service: Service, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Every case's job, ended, and its diagnosis, whose remedies can all be posted."""
    folder = tmp_path_factory.mktemp("doctor")
    with service.client() as client:
        # Cases with the same images share their dataset.
        case_of = {CASES[case].arrays: case for case in wanted}
        uploaded = {arrays: _uploaded(client, case, folder) for arrays, case in case_of.items()}
        names = {case: uploaded[CASES[case].arrays] for case in dict.fromkeys(wanted)}
        for name in uploaded.values():
            until(lambda name=name: client.dataset(name).status == "ready", f"the ingest of {name}")
        submitted = {case: client.submit(_spec(case, names[case])).id for case in names}
        found = {}
        for case, job_id in submitted.items():
            job = ended(client, job_id, within_s=240)
            found[case] = job, client.diagnosis(job_id)
            for finding in found[case][1].findings:
                for remedy in finding.remedies:
                    if remedy.patch is not None:
                        client.estimate(merged(as_json(job.spec), remedy.patch))  # a 4xx would be an exception
    return found


def _uploaded(client: Client, case: str, folder: Path) -> str:
    name = case.replace(" ", "-").replace(",", "")
    path = folder / f"{name}.npz"
    np.savez(path, **CASES[case].arrays())
    client.upload(client.create_dataset({"name": name}).id, path)
    return name


def _spec(case: str, dataset: str) -> dict[str, Any]:
    wanted = CASES[case]
    training = {"batch_size": 32, "seed": 7, **wanted.training}
    changes = {"augmentation": wanted.augmentation} if wanted.augmentation else {}
    return {"name": case, "dataset": dataset, "network": wanted.network, "training": training, **changes}


@pytest.mark.parametrize("case", EVERY)
def test_the_cause_is_named(diagnoses, case: str) -> None:
    job, diagnosis = diagnoses[case]
    assert job.status == CASES[case].status, job.error
    codes = {finding.code: finding.severity for finding in diagnosis.findings}
    assert diagnosis.verdict == CASES[case].verdict, (codes, diagnosis.explanation)


# What a verdict must say besides its name: of which finding, which evidence.
EVIDENCE: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {
    "few images, many epochs": (
        "overconfidence",
        lambda said: said["best_epoch"] < said["onset_epoch"] <= 60 and said["last"] > said["best"] > 0,
    ),
    "labels of test moved by one": (
        "label_order_mismatch",
        lambda said: said["renamed"] == {str(label): str((label + 9) % 10) for label in range(10)},
    ),
    "a rare class": ("collapsed_class", lambda said: said["class"] == "8" and said["recall_interval"][1] < 0.5),
    "forty test images": ("test_too_small", lambda said: said["needed"] > said["count"] == 40),
}


@pytest.mark.parametrize("case", [case for case in EVERY if case.values[0] in EVIDENCE])
def test_the_numbers_behind_it_are_given(diagnoses, case: str) -> None:
    code, holds = EVIDENCE[case]
    found = [finding for finding in diagnoses[case][1].findings if finding.code == code]
    assert found
    assert all(holds(finding.evidence) for finding in found), found


@pytest.mark.parametrize("case", [case for case in EVERY if case.values[0].startswith(("test ", "labels of test"))])
def test_what_is_wrong_with_the_test_is_not_to_be_cured_by_another_training(diagnoses, case: str) -> None:
    verdict = diagnoses[case][1].findings[0]
    assert {remedy.name for remedy in verdict.remedies} == {"mend_data"}


def test_the_guard_ends_a_training_where_it_overfits_and_keeps_its_best_epoch(client: Client) -> None:
    fast = {"epochs": 60, "batch_size": 16, "train_limit": 100, "optimizer": {"name": "adam", "learning_rate": 0.01}}
    guarded = digits(on_overfit="stop_and_restore", **fast)
    guarded["network"] = {"blocks": [{"filters": 16}], "dense": [{"units": 64}]}
    job = ended(client, client.submit(guarded).id)
    assert (job.status, job.stop_reason) == ("succeeded", "overfit_guard")
    [event] = [one for one in client.events(job.id) if one.type == "job.overfitting"]
    metrics = client.metrics(job.id)
    losses = [epoch.validation_loss for epoch in metrics.epochs]
    best = losses.index(min(losses)) + 1
    assert (event.level, event.data) == ("warning", {"epoch": len(losses), "best_epoch": best})
    assert len(losses) < 60
    assert metrics.final.epoch == best
    assert losses[-1] > losses[best - 1]
    # In time, or too early where the last epoch answers the test images surely better.
    [finding] = [one for one in client.diagnosis(job.id).findings if "last_epoch" in one.evidence]
    assert finding.code in {"overfitting", "not_converged"}
    assert (finding.severity == "info") == (finding.code == "overfitting")
    cost = finding.evidence["last_epoch"]
    assert (cost["split"], cost["kept_epoch"], cost["epoch"]) == ("test", best, len(losses))
    assert cost["loss_interval"][0] <= cost["loss"] <= cost["loss_interval"][1]
    assert f"weights of epoch {len(losses)} are" in finding.explanation
    assert f"those of epoch {best}: " in finding.explanation
