"""A newcomer's first cure by clicks alone: a network is trained and diagnosed, and what helps is measured."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from heldout.client.client import Client
from tests.browser.looks import assert_fit_at_every_size
from tests.browser.words import percent

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def test_a_newcomer_trains_a_network_and_finds_what_helps(client: Client, open_page, pictures: Path | None) -> None:
    page = open_page("/jobs", width=1280)
    page.get_by_role("main").get_by_role("link", name="New job").first.click()
    page.get_by_label("Dataset").fill("digits")
    page.get_by_label("Dataset").blur()
    page.get_by_role("button", name="overfit").click()
    page.get_by_label("Name").first.fill("my first network")
    page.get_by_label("Name").first.blur()
    page.get_by_label(re.compile("^Epochs")).fill("3")
    page.get_by_label(re.compile("^Epochs")).blur()
    expect(page.get_by_label("Size and cost").get_by_text("valid", exact=True)).to_be_visible()
    page.get_by_role("button", name="Train").click()

    page.wait_for_url("**/jobs/job_*")
    cure = page.get_by_role("link", name="Measure what helps")
    expect(cure).to_be_visible()
    diagnosis = client.jobs.diagnosis(page.url.rpartition("/")[2])
    expect(page.get_by_label("Verdict").locator(".headline")).to_have_text(diagnosis.headline)
    assert_fit_at_every_size(page, "first-verdict", pictures)

    cure.click()
    page.get_by_label("Let me choose").check()
    for box in page.get_by_role("checkbox", checked=True).all():
        box.uncheck()
    page.get_by_role("checkbox", name="more epochs").check()
    page.get_by_label("Seeds").fill("2")
    size = page.get_by_label("Size and cost")
    expect(size.get_by_text("4 trainings")).to_be_visible()
    expect(size).to_contain_text("at most 8 until the answer")
    expect(size).to_contain_text("Two seeds tell nothing")
    assert_fit_at_every_size(page, "first-study", pictures)
    page.get_by_role("button", name="Start the study").click()

    page.wait_for_url("**/studies/std_*")
    expect(page.get_by_text("succeeded", exact=True)).to_be_visible(timeout=180_000)
    study = client.studies.get(page.url.rpartition("/")[2])
    assert study.conclusion
    assert study.conclusion.remedy == "more_epochs"
    assert study.conclusion.test
    assert study.conclusion.gap
    answer = page.get_by_label("Answer", exact=True)
    expect(answer.locator(".headline")).to_have_text("More epochs help.")
    expect(answer).to_contain_text(study.conclusion.gap.explanation)
    expect(page.get_by_label("Does it hold on test images?")).to_contain_text(
        percent(study.conclusion.test.winner.accuracy)
    )
    job = page.get_by_role("link", name=study.job or "", exact=True)
    expect(job).to_have_attribute("href", f"/jobs/{study.job}")
    assert_fit_at_every_size(page, "first-cure", pictures)
