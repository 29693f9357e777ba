"""People drop, measure and export models in the dashboard. Every figure comes from the API."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from heldout.client.client import Client
from heldout.documents.diagnosis import build_gap
from heldout.views.model import EvaluationView
from models.bundled import BUNDLED
from tests.browser.looks import assert_fit_for_all
from tests.browser.test_datasets_pages import drop
from tests.browser.words import percent, points
from tests.onnx_files import dense_onnx

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
# Writing a model for another runtime, and loading it there, takes a while.
EXPORT_MS = 200_000
# The history of an external training that memorizes its images.
OVERFITTED = {"loss": [1, 0.5, 0.2, 0.1, 0.05, 0.02], "val_loss": [1, 0.6, 0.5, 0.6, 0.8, 1.0]}


@pytest.fixture(scope="session")
def uploaded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that picks the class with the nearest mean, but expects inverted pixels: 16 - x instead of x."""
    digits = BUNDLED["digits"].read(Path("/nonexistent"))
    rows = digits.splits["train"]
    images, labels = np.asarray(digits.images[rows], float).reshape(len(rows), -1), np.asarray(digits.labels[rows])
    means = np.stack([images[labels == digit].mean(axis=0) for digit in range(10)])
    weights, bias = means.T / 16, -(means**2).sum(axis=1) / 32
    path = tmp_path_factory.mktemp("uploaded") / "nearest mean.onnx"
    path.write_bytes(dense_onnx(-weights, bias + 16 * weights.sum(axis=0), image=(8, 8, 1)))
    return path


@pytest.fixture(scope="session")
def evaluation(client: Client, uploaded_file: Path) -> EvaluationView:
    """An evaluation of the same model."""
    model = client.models.create(uploaded_file, name="measured").wait()
    assert model.status == "ready", model.error
    ordered = client.evaluations.create(model.id, "digits").wait()
    assert ordered.status == "succeeded", ordered.error
    return ordered.view


def figures(page: Page) -> list[list[str]]:
    rows = page.get_by_label("Figures", exact=True).locator("table").first.locator("tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def test_a_jobs_model_is_exported_for_another_program_checked_and_saved(client: Client, ended: str, open_page) -> None:
    page = open_page(f"/jobs/{ended}")
    card = page.get_by_label("Export the model")
    litert = card.get_by_label("LiteRT")
    expect(litert).to_contain_text("not made")
    expect(litert.get_by_role("link", name="Download")).to_have_count(0)
    litert.get_by_role("button", name="Make it LiteRT").click()
    expect(litert).to_contain_text("being made")
    # This happens without a reload.
    expect(litert.get_by_text("ready", exact=True)).to_be_visible(timeout=EXPORT_MS)
    known = {export.format: export for export in client.jobs.exports(ended)}
    assert known["litert"].status == "stored"
    report = known["litert"].report
    assert report
    expect(litert).to_contain_text(f"Loaded in {report.runtime}: all {report.images:,} test images got the same answer")
    shown = re.search(r"between probabilities is (\S+),", litert.inner_text())
    assert shown
    assert float(shown[1]) == pytest.approx(report.max_difference, rel=0.1)
    with page.expect_download() as saved:
        litert.get_by_role("link", name="Download").click()
    assert saved.value.suggested_filename == f"{client.jobs.get(ended).name}.tflite"
    assert saved.value.path().stat().st_size == report.size_bytes
    with page.expect_download() as saved:
        card.get_by_role("button", name="Download the script").click()
    assert ended in saved.value.path().read_text()
    with page.context.expect_page() as opened:
        card.get_by_role("link", name="Model card").click()
    expect(opened.value.get_by_text(client.jobs.get(ended).name).first).to_be_visible()
    opened.value.close()


def test_an_uploaded_model_is_dropped_measured_and_followed(
    client: Client, uploaded_file: Path, tmp_path, open_page
) -> None:
    page = open_page("/models")
    broken = tmp_path / "notes.keras"
    broken.write_bytes(b"not a model" * 100)
    drop(page, broken)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/models/mod_*")
    # This and everything below happens without a reload.
    expect(page.get_by_text("This file was rejected")).to_be_visible()
    refused = client.models.get(page.url.rpartition("/")[2])
    assert refused.error
    expect(page.get_by_role("alert")).to_contain_text(refused.error.detail)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/models")
    expect(page.get_by_role("link", name="notes.keras")).to_have_count(0)

    drop(page, uploaded_file)
    expect(page.get_by_label("Name", exact=True)).to_have_value("nearest mean.onnx")
    page.get_by_label("Name", exact=True).fill("nearest mean")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("nearest mean")
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    model = client.models.get(page.url.rpartition("/")[2])
    facts = page.locator("dl.facts")
    assert (model.input_shape, model.classes, model.parameters) == ([8, 8, 1], 10, 650)
    for text in ("ONNX", "8×8×1", "10 classes", "650"):
        expect(facts).to_contain_text(text)

    expect(page.get_by_role("button", name="Measure it")).to_be_visible()
    offered = set(page.get_by_label("Dataset", exact=True).locator("option").all_inner_texts())
    fitting = {
        f"{dataset.name}@{dataset.version}"
        for dataset in client.datasets.list()
        if list(dataset.shape or ()) == [8, 8, 1] and len(dataset.classes or ()) == 10
    }
    assert "digits@1" in offered <= fitting, "only datasets that fit are offered"
    page.get_by_label("Dataset", exact=True).select_option(label="digits@1")
    page.get_by_role("button", name="Measure it").click()
    page.wait_for_url("**/evaluations/evl_*")
    expect(page.get_by_text("succeeded", exact=True)).to_be_visible()
    expect(page.locator(".verdict header .badge").first).to_have_text("model expects other pixels")
    made = page.url.rpartition("/")[2]
    assert client.evaluations.get(made).model.id == model.id

    page.get_by_role("link", name="Other evaluations of this model").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("nearest mean on digits@1")
    page.get_by_role("button", name=re.compile("^of nearest mean")).click()
    assert "model=" not in page.url
    page.goto(f"/evaluations/{made}")
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/evaluations")
    assert made not in {found.id for found in client.evaluations.list()}


def test_every_figure_of_an_evaluation_is_the_api_s(client: Client, evaluation: EvaluationView, open_page) -> None:
    page = open_page(f"/evaluations/{evaluation.id}?why=open")
    metrics, as_given = evaluation.metrics, evaluation.as_given
    assert metrics
    assert as_given
    assert evaluation.preprocessing
    expect(page.get_by_label("Figures", exact=True)).to_contain_text(evaluation.preprocessing.in_words)
    for row, split in zip(figures(page), ("train", "validation", "test"), strict=True):
        measured, raw = getattr(metrics, split), getattr(as_given, split)
        low, high = measured.interval
        assert [row[1], row[2], row[3], row[5]] == [
            *(f"{measured.count:,}", percent(measured.accuracy)),
            *(f"{percent(low)} to {percent(high)}", percent(raw.accuracy)),
        ]
        assert float(row[4]) == pytest.approx(measured.loss, rel=0.01)
    diagnosis, confusion = client.evaluations.diagnosis(evaluation.id), client.evaluations.confusion(evaluation.id)
    expect(page.locator(".verdict").last).to_contain_text(diagnosis.explanation)
    assert diagnosis.gap
    shown = page.get_by_label("The gap", exact=True).locator("tbody tr td.number:nth-child(3)").all_inner_texts()
    assert shown == [str(row[2]) for row in build_gap(diagnosis.gap).charts[0].rows]
    assert (shown[0], shown[-1]) == (percent(diagnosis.gap.train.accuracy), percent(diagnosis.gap.test.accuracy))
    assert len(shown[1:-1]) == len([term for term in diagnosis.gap.terms if points(term.accuracy) != "0.0"])
    rows = page.locator(".matrix tbody tr")
    counts = [row.locator("td").all_inner_texts() for row in rows.all()]
    assert [[0 if cell == "·" else int(cell) for cell in row] for row in counts] == confusion.splits["test"].confusion
    expect(page.locator(".matrix button")).to_have_count(0)

    page.goto("/evaluations")
    row = page.get_by_role("row", name=re.compile("^measured on digits"))
    assert metrics.validation
    assert metrics.test
    accuracies = [split.accuracy for split in (metrics.train, metrics.validation, metrics.test)]
    expect(row).to_contain_text(" / ".join(percent(accuracy) for accuracy in accuracies))


@pytest.mark.parametrize(("colours", "width"), [("light", 1440), ("dark", 390)], ids=["light wide", "dark narrow"])
def test_pages_of_models_are_accessible(
    colours: str, width: int, client: Client, evaluation: EvaluationView, ended: str, open_page, pictures: Path | None
) -> None:
    page = open_page("/models", colours=colours, width=width)
    kept = client.diagnoses.keep(client.diagnoses.create(OVERFITTED))

    def with_a_failure(route) -> None:
        answer = route.fetch()
        listed = json.loads(answer.text())
        error = {"code": "export_differs", "detail": "It names another class for 3 of 1,000 images."}
        listed["data"][-1] |= {"status": "failed", "error": error}
        route.fulfill(response=answer, json=listed)

    page.route("**/exports", with_a_failure)
    for name, path, ready_text in (
        ("models", "/models", "measured"),
        ("model", f"/models/{evaluation.model.id}", "measured"),
        ("evaluations", "/evaluations", "measured on digits"),
        ("evaluation", f"/evaluations/{evaluation.id}", "Which classes"),
        ("diagnosis", f"/diagnoses/{kept.id}", kept.headline),
        ("no-diagnosis", "/diagnoses/unknown", "Not found"),
        ("exports", f"/jobs/{ended}", "answers differ"),
        ("no-evaluation", "/evaluations?model=unknown", "has not been measured"),
        ("no-model", "/models/unknown", "Not found"),
    ):
        page.goto(path)
        expect(page.get_by_text(ready_text).last).to_be_attached()
        expect(page.get_by_text("Loading")).to_have_count(0)
        if name == "exports":
            expect(page.get_by_text("It names another class for 3 of 1,000 images.")).to_be_visible()
        assert_fit_for_all(page, f"{name}-{colours}-{width}", pictures)
