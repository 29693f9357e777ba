"""Planted faults are found, cured by the requests that the service offers, and gone afterwards."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heldout.client.client import Client
from heldout.fixes.bodies import combine_bodies
from heldout.views.dataset import DatasetView
from heldout.views.diagnosis import DiagnosisView
from models.bundled import BUNDLED
from tests.e2e.running import until, wait_for_end

PLANTED = 60
IN_ANOTHER_ORDER = np.array([3, 0, 1, 2, 5, 4, 7, 8, 9, 6])
SPEC = {
    "network": {"blocks": [{"filters": 16, "padding": "same"}]},
    "training": {"epochs": 12, "batch_size": 32, "seed": 7},
}


def digits() -> dict[str, np.ndarray]:
    """The 1,797 real digits in three splits, shuffled once."""
    source = BUNDLED["digits"].read(Path("unused"))
    order = np.random.default_rng(0).permutation(len(source.labels))
    pixels, labels = (source.images * 15.9).astype(np.uint8)[order], source.labels[order]
    cuts = {"train": slice(0, 1200), "val": slice(1200, 1440), "test": slice(1440, None)}
    return {f"x_{name}": pixels[cut] for name, cut in cuts.items()} | {
        f"y_{name}": labels[cut] for name, cut in cuts.items()
    }


def with_copies(arrays: dict[str, np.ndarray]) -> None:
    for kind in "xy":
        arrays[f"{kind}_train"] = np.concatenate([arrays[f"{kind}_train"], arrays[f"{kind}_test"][:PLANTED]])


def with_labels_in_another_order(arrays: dict[str, np.ndarray]) -> None:
    arrays["y_test"] = IN_ANOTHER_ORDER[arrays["y_test"]]


def with_inverted_test(arrays: dict[str, np.ndarray]) -> None:
    arrays["x_test"] = 255 - arrays["x_test"]


FAULTS = {
    "leakage": (with_copies, "copies_in_test"),
    "label_order_mismatch": (with_labels_in_another_order, "label_order"),
    "scale_mismatch": (with_inverted_test, "pixel_values"),
}


def settled(client: Client, dataset_id: str) -> DatasetView:
    def found() -> DatasetView | None:
        dataset = client.datasets.get(dataset_id)
        return None if dataset.status in {"uploading", "checking"} else dataset

    dataset = until(found, "the end of the ingest")
    assert dataset.status == "ready", dataset.error
    return dataset


def uploaded(client: Client, folder: Path, name: str, arrays: dict[str, np.ndarray]) -> DatasetView:
    np.savez(folder / f"{name}.npz", **arrays)
    made = client.datasets.create({"name": name})
    client.datasets.upload(made.id, folder / f"{name}.npz")
    return settled(client, made.id)


def diagnosed(client: Client, dataset: DatasetView) -> DiagnosisView:
    job = wait_for_end(client, client.jobs.create({**SPEC, "dataset": dataset.id}).id)
    assert job.status == "succeeded", job.error
    return client.jobs.diagnosis(job.id)


def term(diagnosis: DiagnosisView, code: str) -> float:
    """Return the accuracy that a term of the gap accounts for, 0 if there is no such term."""
    assert diagnosis.gap is not None
    return sum(term.accuracy for term in diagnosis.gap.terms if term.code == code)


def requests_of(diagnosis: DiagnosisView) -> dict[str, Any]:
    """Return the requests that remedies carry, by the finding's code."""
    return {
        finding.code: remedy.request
        for finding in diagnosis.findings
        for remedy in finding.remedies
        if remedy.request is not None
    }


@pytest.mark.proof
def test_faults_that_hide_each_other_are_cured_one_after_the_other(client: Client, tmp_path: Path) -> None:
    """Inverted test images in another order, of which some are copies: the copies are seen once the rest is fixed."""
    arrays = digits()
    for plant, _ in FAULTS.values():
        plant(arrays)
    broken = uploaded(client, tmp_path, "broken", arrays)
    before = diagnosed(client, broken)
    offered = requests_of(before)
    assert offered.keys() == {"label_order_mismatch", "scale_mismatch"}
    assert term(before, "label_order") > 0.5
    [path] = {request.path for request in offered.values()}
    assert path == f"/v1/datasets/{broken.id}/versions"
    fixed = client.datasets.fix(broken.id, combine_bodies(request.body for request in offered.values()))
    assert fixed.derived_from is not None
    assert fixed.derived_from.dataset.id == broken.id
    settled(client, fixed.id)
    [leakage] = client.datasets.audit(fixed.id).findings
    assert leakage.code == "leakage"
    assert leakage.fix is not None
    whole = settled(client, client.datasets.fix(fixed.id, leakage.fix).id)
    assert whole.splits is not None
    assert whole.splits.train.count == 1200
    assert client.datasets.audit(whole.id).findings == []
    assert whole.sha256 == uploaded(client, tmp_path, "unharmed", digits()).sha256
    after = diagnosed(client, whole)
    assert {code: term(after, code) for _, code in FAULTS.values()} == dict.fromkeys(
        ("copies_in_test", "label_order", "pixel_values"), 0
    )
    assert not requests_of(after)


@pytest.mark.proof
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_alone_is_cured_by_the_request_of_its_remedy(client: Client, tmp_path: Path, fault: str) -> None:
    plant, code = FAULTS[fault]
    arrays = digits()
    plant(arrays)
    dataset = uploaded(client, tmp_path, fault.replace("_", "-"), arrays)
    before = diagnosed(client, dataset)
    request = requests_of(before)[fault]
    assert term(before, code) != 0
    fixed = settled(client, client.datasets.fix(dataset.id, request.body).id)
    after = diagnosed(client, fixed)
    assert term(after, code) == 0
    assert fault not in requests_of(after)
