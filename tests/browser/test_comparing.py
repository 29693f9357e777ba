"""The dashboard compares jobs that are chosen in the list or by name. Every figure comes from the API."""

import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from heldout.client.client import Client
from heldout.errors import StudyFinished
from heldout.views.job import JobView
from tests.browser.looks import assert_fit_for_all
from tests.browser.words import percent, points
from tests.e2e.running import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


@pytest.fixture(scope="session")
def twins(client: Client) -> list[JobView]:
    """Two jobs that differ only in the seed, and a third that also differs in two other fields."""
    spec = json.loads((ROOT / "examples/overfit.json").read_text())
    spec |= {"network": {"blocks": [{"filters": 4}]}}
    spec["training"] |= {"train_limit": 200, "epochs": 3}
    changes = {
        "twin seed 1": {"seed": 1},
        "twin seed 2": {"seed": 2},
        "other": {"seed": 1, "epochs": 5, "batch_size": 64},
    }
    made = [
        client.jobs.create(spec | {"name": name, "training": spec["training"] | change})
        for name, change in changes.items()
    ]
    return [ended_job(client, job.id) for job in made]


@pytest.fixture(scope="session")
def digits(client: Client) -> JobView:
    """A job of another dataset."""
    network, training = {"blocks": [{"filters": 4}]}, {"epochs": 2, "seed": 1}
    spec = {"name": "digits", "dataset": "digits", "network": network, "training": training}
    return ended_job(client, client.jobs.create(spec).id)


def ended_job(client: Client, job_id: str) -> JobView:
    while not (job := client.jobs.poll(job_id)) or not job.has_ended:
        pass
    assert job.status == "succeeded"
    return job


def cells(page: Page, region: str) -> list[list[str]]:
    rows = page.get_by_label(region, exact=True).locator("tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def test_jobs_ticked_in_the_list_are_compared_and_edited_in_place(
    client: Client, twins: list[JobView], digits: JobView, open_page
) -> None:
    page = open_page("/jobs?search=twin")
    for job in twins[:2]:
        page.get_by_role("checkbox", name=f"Select {job.name}").check()
    page.get_by_role("link", name="Compare 2").click()
    assert [f"job={job.id}" in page.url for job in twins] == [True, True, False]
    # Only the seeds differ, so one line says it.
    expect(page.get_by_label("Differences")).to_contain_text("Only in the seed")
    page.get_by_label("Add a job").fill("other")
    page.get_by_role("button", name=re.compile("^other")).click()
    expect(page.get_by_label("Figures of each").locator("tbody tr")).to_have_count(2)
    assert f"job={twins[2].id}" in page.url
    differing = [row[0] for row in cells(page, "Settings that differ")]
    assert differing[:2] == ["Epochs (times it sees all images)", "Batch size (images at once)"]
    assert not {"Name of the job", "Random seed", "Learning rate (size of a step)"} & set(differing)
    assert cells(page, "Settings that differ")[0][1:] == ["3", "5"]
    expect(page.get_by_label("What can be compared")).to_contain_text("on the same images")

    page.get_by_label("Add a job").fill(digits.id)
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_label("What can be compared")).to_contain_text("different datasets")
    expect(page.get_by_label("Settings that differ")).to_contain_text("digits@1")
    page.get_by_role("button", name="Take out digits").click()
    expect(page.get_by_label("What can be compared")).to_contain_text("on the same images")
    assert digits.id not in page.url


def test_every_compared_figure_is_the_api_s(client: Client, twins: list[JobView], open_page) -> None:
    page = open_page("about:blank")
    late: list[Route] = []
    page.route(f"**/v1/jobs/{twins[1].id}", lambda route: late.append(route))
    page.goto("/compare?curve=accuracy&" + "&".join(f"job={job.id}" for job in twins))
    figures = [client.jobs.metrics(job.id) for job in twins]
    expect(page.get_by_label("Figures of each").locator("tbody tr")).to_have_count(2)
    expect(page.get_by_label("Did it help?")).to_have_count(0)  # while a job is missing
    for route in late:
        route.continue_()
    page.unroute(f"**/v1/jobs/{twins[1].id}")
    expect(page.get_by_text("Loading jobs")).to_have_count(0)
    first_twin, second_twin, other = (metrics.final for metrics in figures)
    assert first_twin
    assert second_twin
    assert other
    assert other.test
    both, alone = cells(page, "Figures of each")
    for cell, split in zip(both[2:5], ("train", "validation", "test"), strict=True):
        values = [getattr(first_twin, split).accuracy, getattr(second_twin, split).accuracy]
        expected = f"{percent(sum(values) / 2)}\n{percent(min(values))} to {percent(max(values))}"
        assert re.sub(r"\s*\n\s*", "\n", cell) == expected
    low, high = other.test.interval
    assert re.sub(r"\s*\n\s*", "\n", alone[4]) == f"{percent(other.test.accuracy)}\n{percent(low)} to {percent(high)}"
    assert alone[5].startswith(points(other.train.accuracy - other.test.accuracy))

    # Whether it helped: the difference, and what chance alone can do with this few images.
    assert first_twin.validation
    assert second_twin.validation
    assert other.validation
    before, after = (first_twin.validation.accuracy + second_twin.validation.accuracy) / 2, other.validation.accuracy
    answer = page.get_by_label("Did it help?")
    expect(answer).to_contain_text(f"{percent(after)} against {percent(before)}")
    words = "higher" if after > before else "lower"
    expect(answer).to_contain_text(
        f"Validation accuracy is {points(abs(after - before)).removeprefix('+')} points {words}"
    )
    known = (before + after) / 2
    chance = 1.96 * (known * (1 - known) * 2 / other.validation.count) ** 0.5
    expect(answer).to_contain_text(
        f"2 and 1 runs: chance alone can make a difference of ±{points(chance).removeprefix('+')}"
    )
    expect(answer).to_contain_text("most likely" if abs(after - before) > chance else "That may be chance")

    # At the same epoch: first the last that all have.
    page.get_by_role("button", name="Same epoch").click()
    expect(page.get_by_label("Epoch", exact=True)).to_have_value("3")
    page.get_by_label("Epoch", exact=True).fill("2")
    page.get_by_label("Epoch", exact=True).blur()
    expect(page.get_by_label("Figures of each").locator("tbody tr").last.locator("td").first).to_have_text("2")
    assert cells(page, "Figures of each")[1][3] == percent(figures[2].epochs[1].validation_accuracy)
    assert "at=2" in page.url

    # The hidden table of the chart: mean and bounds of the twins, then the other job, which alone has epochs 4 and 5.
    rows = page.locator("table", has=page.locator("caption", has_text="Accuracy of each epoch")).locator("tbody tr")
    expect(rows).to_have_count(5)
    values = [metrics.epochs[0].validation_accuracy or 0 for metrics in figures]
    first = rows.first.locator("th, td").all_inner_texts()
    assert first[:4] == ["1", percent(sum(values[:2]) / 2), percent(min(values[:2])), percent(max(values[:2]))]
    assert first[7] == percent(values[2])
    last = rows.last.locator("th, td").all_inner_texts()
    assert last[1:7] == ["none"] * 6
    assert last[7] == percent(figures[2].epochs[4].validation_accuracy)

    page.get_by_label("Group jobs that differ only in the seed").uncheck()
    expect(page.get_by_label("Figures of each").locator("tbody tr")).to_have_count(3)


def test_the_list_shows_curves_hides_trainings_of_studies_and_cancels_in_one_request(
    client: Client, twins: list[JobView], open_page
) -> None:
    study = client.studies.create({"job": twins[0].id, "remedies": ["dropout"], "seeds": 2, "name": "hidden"})
    try:
        page = open_page("/jobs")
        row = page.get_by_role("row", name=re.compile("twin seed 1"))
        losses = [epoch.validation_loss or 0 for epoch in client.jobs.metrics(twins[0].id).epochs]
        label = row.get_by_role("img").get_attribute("aria-label") or ""
        assert label.endswith(f"validation loss {losses[0]:.3g} to {losses[-1]:.3g}")
        trained = {job for arm in client.studies.get(study.id).arms for job in arm.jobs}
        shown = {link.get_attribute("href") for link in page.locator("td.name a").all()}
        assert not shown & {f"/jobs/{job}" for job in trained}
        page.get_by_label("Include trainings of studies").check()
        for job in trained:
            expect(page.locator(f"a[href='/jobs/{job}']")).to_be_visible()
        page.goto(f"/studies/{study.id}")
        page.get_by_role("link", name="Its jobs").click()
        expect(page.locator("tbody tr")).to_have_count(len(trained))
    finally:
        with suppress(StudyFinished):
            client.studies.cancel(study.id)

    spec = client.jobs.get(twins[0].id).spec.model_dump(mode="json") | {"priority": -100}
    spec["training"]["epochs"] = 1000
    queued = [client.jobs.create(spec | {"name": f"to cancel {place}"}).id for place in range(4)]
    page.goto("/jobs?search=to+cancel")
    expect(page.get_by_text(re.compile("number [1-9]")).first).to_be_visible()
    page.get_by_label("Select all jobs of this page").check()
    page.get_by_role("button", name="Cancel 4").click()
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    page.get_by_role("button", name="Cancel them").click()
    expect(page.get_by_text("4 jobs are cancelled")).to_be_visible()
    assert [url.rpartition("/")[2] for url in asked] == ["cancel"]
    expect(page.locator("tbody").get_by_text("cancelled", exact=True)).to_have_count(4)
    assert {client.jobs.get(job).status for job in queued} == {"cancelled"}


def test_a_job_is_renamed_from_its_page(client: Client, digits: JobView, open_page) -> None:
    page = open_page(f"/jobs/{digits.id}")
    page.get_by_role("button", name="Rename").click()
    page.get_by_label("Name", exact=True).fill("  numbers ")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("numbers")
    assert client.jobs.get(digits.id).name == "numbers"
    client.jobs.update(digits.id, name=digits.name)


@pytest.mark.parametrize(("colours", "width"), [("light", 1440), ("dark", 390)], ids=["light wide", "dark narrow"])
def test_the_comparison_page_is_accessible(
    colours: str, width: int, twins: list[JobView], digits: JobView, ended: str, open_page, pictures: Path | None
) -> None:
    page = open_page("/compare", colours=colours, width=width)
    ids = [*(job.id for job in twins), digits.id, ended]
    for name, path, ready in (
        ("compare-empty", "/compare", "Nothing to compare yet"),
        ("compare", "/compare?" + "&".join(f"job={job}" for job in ids), "The gap is in percentage points."),
        ("compare-lost", "/compare?job=job_01jd0000000000000000000000", "not loaded"),
    ):
        page.goto(path)
        expect(page.get_by_text(ready).last).to_be_attached()
        expect(page.get_by_text("Loading")).to_have_count(0)
        assert_fit_for_all(page, f"{name}-{colours}-{width}", pictures)
