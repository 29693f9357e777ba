"""Studies are ordered from a job, followed live, read and cancelled in the dashboard. All figures come from the API."""

import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Route, expect
from sklearn.datasets import load_digits

from heldout.client.client import Client
from heldout.views.study import StudyView
from heldout.words.labels import TOO_FEW_SEEDS
from tests.browser.looks import assert_fit_for_all
from tests.browser.words import percent, points
from tests.e2e.running import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def ended_study(client: Client, study_id: str) -> StudyView:
    while not (study := client.studies.poll(study_id)).has_ended:
        pass
    return study


@pytest.fixture(scope="session")
def curve(client: Client) -> StudyView:
    """A learning curve of short trainings."""
    spec = json.loads((ROOT / "examples/overfit.json").read_text())
    spec |= {"name": "curve", "network": {"blocks": [{"filters": 8}]}}
    spec["training"] |= {"train_limit": 320, "epochs": 2}
    return ended_study(client, client.studies.create({"spec": spec, "kind": "learning_curve", "seeds": 2}).id)


@pytest.fixture(scope="session")
def faulty(client: Client) -> str:
    """The id of a job whose test images are inverted."""
    digits = load_digits()
    images, labels = (digits.images * (255 / 16)).astype(np.uint8), digits.target
    content = io.BytesIO()
    np.savez(content, x_train=images[:1200], y_train=labels[:1200], x_test=255 - images[1200:], y_test=labels[1200:])
    dataset = client.datasets.create({"name": "blocked"})
    client.datasets.upload(dataset.id, [content.getvalue()])
    while client.datasets.get(dataset.id).status == "checking":
        time.sleep(0.2)
    spec = json.loads((ROOT / "examples/overfit.json").read_text())
    spec |= {"dataset": "blocked", "network": {"blocks": [{"filters": 8}]}}
    spec["training"] |= {"epochs": 4}
    job = client.jobs.create(spec)
    while not (job := client.jobs.poll(job.id)).has_ended:
        pass
    assert job.status == "succeeded"
    return job.id


@pytest.mark.parametrize("width", [1280, 390])
def test_faulty_data_come_first_and_the_page_offers_three_ways_to_continue(
    client: Client, faulty: str, open_page, pictures: Path | None, width: int
) -> None:
    page = open_page(f"/studies/new?job={faulty}", width=width)
    card = page.get_by_label("Data first")
    expect(card).to_be_visible()
    expect(page.get_by_role("button", name="Start the study")).to_be_disabled()
    expect(card.get_by_role("link", name="Show the images")).to_be_visible()
    expect(card.get_by_role("button", name="Compare on the data as they are")).to_be_enabled()
    assert_fit_for_all(page, f"blocked-study-{width}", pictures)
    card.get_by_role("button", name="Fix the data and continue").click()
    dialog = page.get_by_role("dialog")
    effect = client.datasets.preview_fix("blocked@1", {"pixel_values": {"test": "invert"}})
    expect(dialog).to_contain_text(effect.summary)
    expect(dialog.get_by_label("Changed images").get_by_role("img")).to_have_count(12)
    assert_fit_for_all(page, f"blocked-study-fix-{width}", pictures)
    dialog.get_by_role("button", name="Fix the data and start").click()
    page.wait_for_url("**/studies/std_*")
    study = client.studies.get(page.url.rpartition("/")[2])
    assert study.dataset.version > 1
    if study.waits_for is not None:
        expect(page.get_by_text("It starts by itself")).to_be_visible()
    client.studies.cancel(study.id)


def test_a_study_is_ordered_from_a_job_followed_live_and_read(client: Client, ended: str, open_page) -> None:
    page = open_page(f"/jobs/{ended}")
    late: list[Route] = []
    expect(page.get_by_role("link", name="Measure what helps")).to_be_visible()
    page.route("**/diagnosis", lambda route: late.append(route))
    page.get_by_role("link", name="Measure what helps").click()
    page.get_by_label("Let me choose").check()
    expect(page.get_by_text("Choose at least one remedy.").first).to_be_visible()
    for route in late:  # a verdict that arrives after the choice still ticks its remedies
        route.continue_()
    page.unroute("**/diagnosis")
    checked = page.get_by_role("checkbox", checked=True)
    expect(checked.first).to_be_visible()
    while checked.count():
        checked.first.uncheck()
    expect(page.get_by_text("not possible")).to_be_visible()
    expect(page.get_by_role("button", name="Start the study")).to_be_disabled()
    page.get_by_role("checkbox", name=re.compile("^dropout")).check()
    page.get_by_role("checkbox", name=re.compile("^L2 penalty A penalty on large weights")).check()
    expect(page.get_by_role("checkbox", name=re.compile("^All of these at once"))).not_to_be_checked()
    page.get_by_label("Seeds").fill("2")
    page.get_by_label("Maximum trainings").fill("6")
    order = {"job": ended, "remedies": ["dropout", "l2"], "seeds": 2, "budget": {"jobs": 6}}
    estimate = client.studies.estimate(order)
    expect(page.get_by_label("Size and cost")).to_contain_text(f"{estimate.jobs} trainings")
    page.get_by_role("button", name="Start the study").click()
    page.wait_for_url("**/studies/std_*")
    study_id = page.url.rpartition("/")[2]
    expect(page.get_by_role("progressbar", name="Trainings done")).to_be_visible()

    study = ended_study(client, study_id)
    assert study.budget.jobs == 6
    # This happens without a reload.
    expect(page.get_by_text("succeeded", exact=True)).to_be_visible()
    report = client.studies.report(study_id)
    answer = page.get_by_label("Answer")
    expect(answer.locator(".headline")).to_have_text(report.study.headline)
    expect(answer.locator(".sentence")).to_have_text(report.study.summary)
    rows = page.get_by_label("Arms", exact=True).locator("tbody tr")
    expect(rows).to_have_count(3)
    base, *others = study.arms
    assert base.validation
    expect(rows.first).to_contain_text(percent(base.validation.accuracy))
    for arm in others:
        # A reason in another row may name this remedy, too.
        name = {"dropout": "dropout", "l2": "L2 penalty"}[arm.name]
        row = rows.filter(has=page.locator("th", has_text=re.compile(f"^{name}")))
        assert arm.difference
        bounds = arm.difference.adjusted_intervals.accuracy
        assert row.locator("td.number").all_inner_texts()[:2] == [
            points(arm.difference.accuracy or 0),
            TOO_FEW_SEEDS if bounds is None else f"{points(bounds[0])} to {points(bounds[1])}",
        ]
    expect(answer).to_contain_text(f"{study.ledger.validation_reads:,} times")
    page.get_by_text("What did each remedy change, and what was the result?").click()
    for why in (arm.why for arm in others if arm.why):
        expect(page.get_by_text(why.replace("`", "")).last).to_be_visible()
    assert "<html" in page.request.get(f"/v1/studies/{study_id}/report", headers={"Accept": "text/html"}).text()
    page.get_by_role("link", name="Its jobs").click()
    expect(page.locator("tbody tr")).to_have_count(sum(len(arm.jobs) for arm in study.arms))

    page.goto("/studies?status=succeeded")
    expect(page.get_by_role("row", name=study.name)).to_contain_text("Which remedy helps?")
    page.get_by_role("button", name="failed").click()
    page.get_by_role("button", name="succeeded").click()
    expect(page.get_by_text("No matching studies")).to_be_visible()

    assert study.can_continue
    page.goto(f"/studies/{study_id}")
    page.get_by_role("button", name="Continue with more seeds only").click()
    expect(page.get_by_role("progressbar", name="Trainings done")).to_be_visible()
    client.studies.cancel(study_id)


def test_a_study_is_cancelled_from_its_page(client: Client, ended: str, open_page) -> None:
    study = client.studies.create({"job": ended, "remedies": ["dropout"], "seeds": 4})
    page = open_page(f"/studies/{study.id}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    assert ended_study(client, study.id).status == "cancelled"


def test_a_learning_curve_shows_its_sizes_and_its_forecast(curve: StudyView, open_page) -> None:
    page = open_page(f"/studies/{curve.id}")
    shown = page.get_by_label("Learning curve").locator(".plain-table tbody tr")
    expect(shown.first).to_be_visible()
    assert curve.sizes
    expected = [(size.images, size.error) for size in curve.sizes]
    if curve.forecast:
        expected.append((curve.forecast.images, curve.forecast.error))
    else:
        assert curve.no_forecast
        expect(page.get_by_label("Answer")).to_contain_text(curve.no_forecast.replace("`", ""))
    assert [row.locator("th, td:not(.area)").all_inner_texts()[:2] for row in shown.all()] == [
        [f"{images:,}", percent(error)] for images, error in expected
    ]


@pytest.mark.parametrize(("colours", "width"), [("light", 1440), ("dark", 390)], ids=["light wide", "dark narrow"])
def test_pages_of_studies_are_accessible(
    colours: str, width: int, curve: StudyView, ended: str, client: Client, open_page, pictures: Path | None
) -> None:
    compared = next(study for study in client.studies.list(statuses=["succeeded"]) if study.kind == "remedies")
    page = open_page("/studies", colours=colours, width=width)
    for name, path, ready in (
        ("studies", "/studies", "Which remedy helps?"),
        ("study", f"/studies/{compared.id}", "What helped, and by how much?"),
        ("curve", f"/studies/{curve.id}", "Wrong answers by training images"),
        ("order", f"/studies/new?job={ended}", "What it takes"),
        ("no-studies", "/studies?status=failed", "No matching studies"),
    ):
        page.goto(path)
        expect(page.get_by_text(ready).last).to_be_attached()
        expect(page.get_by_text("Loading")).to_have_count(0)
        assert_fit_for_all(page, f"{name}-{colours}-{width}", pictures)
