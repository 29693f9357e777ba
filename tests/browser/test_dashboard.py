"""What a person does with the dashboard, in a real browser against a real service with real trainings."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect
from sklearn.datasets import load_digits

from heldout.client.client import Client
from heldout.words import POINTS, format_signed, format_signed_range
from heldout.words.labels import get_verdict_name
from tests.browser.looks import assert_fit_for_all
from tests.browser.words import percent, points
from tests.e2e.running import Service, until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
BUDGET_BYTES = 60_000


def table_of(page: Page, caption: str) -> list[list[str]]:
    """Return the text of a table's cells, row by row."""
    rows = page.locator("table", has=page.locator("caption", has_text=caption)).locator("tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in rows.all()]


def test_the_printed_link_logs_in_once_and_logging_out_ends_it(service: Service, open_page) -> None:
    link = re.search(r"Dashboard: (\S+/login#\S+)", service.output.read_text())
    assert link, "heldout up prints no link"
    page = open_page("about:blank", log_in=False)
    unauthorized = page.request.get("/v1/session")
    assert unauthorized.status == 401
    # The page asks who is logged in while the link logs in. Here that question is answered with 401 after the login.
    held: list[Route] = []
    page.route(
        "**/v1/session",
        lambda route: held.append(route) if route.request.method == "GET" else route.continue_(),
    )
    page.goto(link[1])
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    [route] = held
    with page.expect_response(lambda answer: answer.request.method == "GET" and answer.url.endswith("/v1/session")):
        route.fulfill(response=unauthorized)
    assert "#" not in page.url
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    again = open_page(link[1], log_in=False)
    expect(again.get_by_text("This link has already been used")).to_be_visible()
    again.get_by_label("API key").fill("ho_wrong_key")
    again.get_by_role("button", name="Log in").click()
    expect(again.get_by_text("This key is malformed, unknown or revoked")).to_be_visible()
    again.get_by_label("API key").fill((service.home / "api-key").read_text().strip())
    again.get_by_role("button", name="Log in").click()
    expect(again.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()


def test_a_job_is_made_in_the_form_followed_live_and_stopped(client: Client, open_page) -> None:
    page = open_page("/new")
    page.get_by_role("button", name="overfit").click()
    filters = page.get_by_label("Filters")
    filters.nth(1).fill("0")
    filters.nth(1).blur()
    expect(page.get_by_text("not valid")).to_be_visible()
    expect(filters.nth(1)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("button", name="Train")).to_be_disabled()
    filters.nth(1).fill("8")
    filters.nth(1).blur()
    page.get_by_label(re.compile("^Epochs")).fill("1000")
    # Meanwhile, the response to the previous change redraws the form without removing anything.
    with page.expect_response(lambda answer: "dry_run" in answer.url and answer.ok):
        page.get_by_label(re.compile("^Epochs")).blur()
        page.get_by_label("Name").first.fill("<img src=x onerror=alert(1)> of mine")
    page.get_by_label("Name").first.blur()
    expect(page.get_by_label("Size and cost").get_by_text("valid", exact=True)).to_be_visible()
    spec = json.loads(page.get_by_role("textbox", name="As JSON").input_value())
    estimate = client.jobs.estimate(spec)
    expect(page.get_by_label("Size and cost")).to_contain_text(f"{estimate.parameters:,}")
    expect(page.get_by_label("Size and cost")).to_contain_text(" × ".join(map(str, estimate.layers[0].shape)))
    page.on("dialog", lambda dialog: pytest.fail("a name became markup"))
    page.get_by_role("button", name="Train").click()

    page.wait_for_url("**/jobs/job_*")
    expect(page.get_by_role("heading", level=1)).to_have_text("<img src=x onerror=alert(1)> of mine")
    job_id = page.url.rpartition("/")[2]
    # Without a reload, epochs arrive, and a zoom is kept.
    expect(page.get_by_text(re.compile(r"Epoch [3-9] of 1000|Epoch \d\d+ of 1000"))).to_be_visible()
    assert client.jobs.get(job_id).spec.training.epochs == 1000
    chart = page.locator(".u-over")
    box = chart.bounding_box()
    assert box
    page.mouse.move(box["x"] + 0.05 * box["width"], box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    zoom = page.locator(".plot").get_attribute("data-shown")
    page.get_by_role("slider", name="Loss of each epoch").press("Home")
    expect(page.locator(".readout strong")).to_have_text("Epoch 1")
    rows = page.locator("table", has_text="Loss of each epoch").locator("tbody tr")
    seen = rows.count()
    until(lambda: rows.count() > seen, "another epoch on the page")
    assert page.locator(".plot").get_attribute("data-shown") == zoom
    expect(page.locator(".readout strong")).to_have_text("Epoch 1")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator(".plot")).to_have_attribute("data-shown", re.compile("^1 to "))
    assert page.locator(".plot").get_attribute("data-shown") != zoom

    listed = open_page("/jobs?status=running")
    row = listed.get_by_role("row", name=re.compile("onerror"))
    expect(row.get_by_role("progressbar")).to_be_visible()
    row.get_by_role("checkbox").check()
    listed.get_by_role("button", name="Cancel 1").click()
    listed.get_by_role("button", name="Cancel them").click()
    expect(listed.get_by_text("No matching jobs")).to_be_visible()
    expect(page.get_by_text("cancelled", exact=True)).to_be_visible()
    assert client.jobs.get(job_id).status == "cancelled"


def test_a_preset_is_fitted_to_small_images_and_the_page_says_so(client: Client, open_page) -> None:
    page = open_page("/new?dataset=digits")  # 8 × 8 pixels
    cost = page.get_by_label("Size and cost")
    for preset in ("regularized", "overfit"):
        page.get_by_role("button", name=preset).click()
        expect(page.get_by_text("too small for this network")).to_contain_text("Images of 8 × 8 pixels")
        expect(cost.get_by_text("valid", exact=True)).to_be_visible()
        spec = json.loads(page.get_by_role("textbox", name="As JSON").input_value())
        expect(cost).to_contain_text(f"{client.jobs.estimate(spec).parameters:,}")
        assert "name" not in spec, "a job is named after its dataset and network"
    # Other settings are folded away, except those that differ from their defaults.
    expect(page.get_by_label("When it overfits")).to_have_count(0)
    spec["training"]["on_overfit"] = "warn"
    page.get_by_role("textbox", name="As JSON").fill(json.dumps(spec))
    expect(page.get_by_label("When it overfits")).to_have_value("warn")
    # A preset that fits is not changed.
    page.get_by_label("Dataset").fill("mnist5k")
    page.get_by_label("Dataset").blur()
    page.get_by_role("button", name="overfit").click()
    expect(page.get_by_text("too small for this network")).to_have_count(0)
    assert "padding" not in page.get_by_role("textbox", name="As JSON").input_value()


def test_the_hardest_images_are_shown_by_class(client: Client, ended: str, open_page) -> None:
    page = open_page(f"/jobs/{ended}")
    card = page.get_by_label("Images that were hard to learn")
    of_all, label = client.jobs.memorized(ended, limit=24), client.jobs.memorized(ended).data[0].label
    shown = card.locator("li img")
    expect(shown).to_have_count(24)
    assert [image.get_attribute("src") for image in shown.all()] == [image.thumbnail for image in of_all.data]
    card.get_by_role("button", name="Next").click()
    expect(card.get_by_text(f"25 to 48 of {of_all.count:,}")).to_be_visible()
    card.get_by_label("Class").select_option(label)
    expect(card.locator("li strong").first).to_have_text(label)
    of_class = client.jobs.memorized(ended, class_=label, limit=24)
    expect(shown.first).to_have_attribute("src", of_class.data[0].thumbnail)
    expect(shown).to_have_count(len(of_class.data))


def test_dropped_images_get_the_answers_of_the_api(client: Client, ended: str, open_page) -> None:
    digits = load_digits()
    images = {}
    for place in range(3):
        picture = Image.fromarray((digits.images[place] * 15).astype(np.uint8)).resize((28, 28))
        content = io.BytesIO()
        picture.save(content, "PNG")
        images[f"digit {place}.png"] = content.getvalue()
    answers = client.jobs.predict(ended, list(images.values()), top_k=3).predictions
    page = open_page(f"/jobs/{ended}")
    card = page.get_by_label("Try it", exact=True)
    sent = {**images, "notes.txt": b"no image"}
    card.get_by_label("Images", exact=True).set_input_files(
        [{"name": name, "mimeType": "", "buffer": content} for name, content in sent.items()]
    )
    shown = card.get_by_label("Answers").locator("> li")
    expect(shown).to_have_count(4)
    for name, answer in zip(images, answers, strict=True):
        item = shown.filter(has_text=name)
        expect(item.locator("strong")).to_have_text(answer.answer)
        assert item.locator(".chances li").all_inner_texts() == [
            f"{entry.label}\n{percent(entry.probability)}" for entry in answer.top
        ]
    expect(shown.filter(has_text="notes.txt")).to_contain_text("not a PNG, JPEG, WebP or BMP")
    card.get_by_role("button", name="Clear").click()
    expect(shown).to_have_count(0)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download Keras").click()
    assert download.value.suggested_filename == f"{client.jobs.get(ended).name}.keras"


def test_every_figure_of_a_job_is_the_api_s(client: Client, ended: str, open_page) -> None:
    page = open_page(f"/jobs/{ended}?curve=accuracy&why=open")
    job, metrics, diagnosis, confusion = (
        client.jobs.get(ended),
        client.jobs.metrics(ended),
        client.jobs.diagnosis(ended),
        client.jobs.confusion(ended),
    )
    verdict = page.get_by_label("Verdict")
    expect(verdict.locator(".headline")).to_have_text(diagnosis.headline)
    expect(verdict.locator(".sentence")).to_have_text(diagnosis.summary)
    expect(verdict).to_contain_text(diagnosis.explanation)
    assert [figure.code for figure in diagnosis.figures] == ["train", "validation", "test", "gap", "weakest_class"]
    shown = [fact.inner_text().split("\n") for fact in verdict.locator("dl").first.locator("div").all()]
    assert shown == [[figure.name, figure.line] for figure in diagnosis.figures]
    assert diagnosis.certainty
    expect(verdict.locator("header").first).to_contain_text(diagnosis.certainty)
    expect(verdict.locator("ol > li")).to_have_count(len(diagnosis.causes))
    for shown, cause in zip(verdict.locator("ol > li").all(), diagnosis.causes, strict=True):
        expect(shown.locator("strong")).to_have_text(re.compile(f"^{get_verdict_name(cause.code)}$", re.IGNORECASE))
    expect(page.get_by_text(f"{job.parameters:,}")).to_be_visible()
    assert table_of(page, "Accuracy of each epoch") == [
        [str(epoch.epoch), percent(epoch.train_accuracy), percent(epoch.validation_accuracy)]
        for epoch in metrics.epochs
    ]
    assert diagnosis.gap
    rows = page.get_by_label("The gap", exact=True).locator("tbody tr")
    terms = [term for term in diagnosis.gap.terms if points(term.accuracy) != "0.0"]
    expect(rows).to_have_count(len(terms) + 2)
    expect(rows.first).to_contain_text(percent(diagnosis.gap.train.accuracy))
    expect(rows.last).to_contain_text(percent(diagnosis.gap.test.accuracy))
    for row, term in zip(rows.all()[1:-1], terms, strict=True):
        figures = row.locator("td.number").all_inner_texts()
        bounds = term.accuracy_interval and (-term.accuracy_interval[1], -term.accuracy_interval[0])
        assert figures[0] == format_signed(POINTS, -term.accuracy, bounds)
        assert figures[1] == (format_signed_range(POINTS, -term.accuracy, bounds) if bounds else "–")
    scores = confusion.splits["test"]
    matrix = table_of(page, "Rows are labels")
    assert matrix == [
        [name, *("·" if not count else str(count) for count in counts)]
        for name, counts in zip(confusion.classes, scores.confusion, strict=True)
    ]

    mistake = page.get_by_label("Answers").locator("ul.images li").first
    mistake.get_by_role("button", name="Where it looks").click()
    looks = mistake.locator("figure img")  # for the answer, and for the label
    expect(looks).to_have_count(2)
    until(lambda: looks.last.evaluate("image => image.complete && image.naturalWidth > 0"), "a heatmap")

    # A cell opens all images of its label and answer.
    label, answer, count = max(
        (
            (row, column, count)
            for row, counts in enumerate(scores.confusion)
            for column, count in enumerate(counts)
            if row != column
        ),
        key=lambda cell: cell[2],
    )
    names = confusion.classes[label], confusion.classes[answer]
    page.get_by_role("button", name=f"{count} images of {names[0]} were taken for {names[1]}").click()
    images = page.get_by_role("dialog").get_by_role("img")
    expect(images).to_have_count(count)
    until(lambda: images.first.evaluate("image => image.complete && image.naturalWidth > 0"), "a picture")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)

    page.goto("/jobs?sort=best&search=OVERFIT")
    row = page.get_by_role("row", name=re.compile("overfit")).first
    assert job.summary.most_accurate
    assert job.summary.gap
    assert job.summary.gap.test
    best, gap = job.summary.most_accurate, job.summary.gap.test
    expect(row).to_contain_text(f"{percent(best.validation_accuracy)} epoch {best.epoch}")
    expect(row).to_contain_text(points(gap.accuracy or 0))
    assert metrics.final
    assert metrics.final.test
    expect(row).to_contain_text(percent(metrics.final.test.accuracy))
    expect(row).to_contain_text(diagnosis.headline)


def test_the_address_keeps_choices_and_open_parts(ended: str, open_page) -> None:
    page = open_page(f"/jobs/{ended}")
    page.get_by_label("Verdict").get_by_text("Details", exact=True).click()
    page.get_by_label("The gap", exact=True).get_by_role("button", name="Loss").click()
    page.get_by_label("Answers").get_by_role("button", name="Validation").click()
    page.get_by_text("Spec, and code that runs it").click()
    page.get_by_role("button", name="HTTP").click()
    page.get_by_role("heading", name="Events").click()
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
    page.reload()
    for region, chosen in (("The gap", "Loss"), ("Answers", "Validation")):
        button = page.get_by_label(region).get_by_role("button", name=chosen)
        expect(button).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("HTTP", exact=True)).to_contain_text("--data @spec.json")
    expect(page.get_by_text("Waiting for a worker.")).to_be_visible()


def test_a_remedy_is_tried(client: Client, ended: str, open_page) -> None:
    page = open_page(f"/jobs/{ended}")
    page.get_by_label("Verdict").get_by_text("Details", exact=True).click()
    remedy = (
        page.get_by_label("Verdict")
        .locator("ul.remedies li", has=page.get_by_role("button", name="Train with it"))
        .first
    )
    name = remedy.locator("strong").inner_text()
    remedy.get_by_role("button", name="Train with it").click()
    page.wait_for_url(lambda url: "/jobs/job_" in url and ended not in url)
    tried = client.jobs.get(page.url.rpartition("/")[2])
    assert tried.retry_of == ended
    assert tried.spec != client.jobs.get(ended).spec, f"{name} changes nothing"
    assert tried.name.lower() == f"{client.jobs.get(ended).name} + {name}".lower()
    expect(page.get_by_role("heading", level=1)).to_have_text(tried.name)
    client.jobs.cancel(tried.id)


def test_a_lost_connection_is_reported_and_ends_by_itself(client: Client, ended: str, open_page) -> None:
    page = open_page("/jobs")
    expect(page.get_by_role("row")).not_to_have_count(0)
    page.context.set_offline(True)
    page.get_by_label("Search by name").fill("overfit")
    expect(page.get_by_text("The connection to the service is lost")).to_be_visible()
    page.context.set_offline(False)
    page.get_by_label("Search by name").fill("")
    expect(page.get_by_text("The connection to the service is lost")).to_have_count(0)
    expect(page.get_by_role("row", name=re.compile("overfit")).first).to_be_visible()


def test_the_first_page_is_small_and_its_files_are_kept(ended: str, open_page, service: Service) -> None:
    page = open_page("/jobs")
    expect(page.get_by_role("row").first).to_be_visible()
    files = page.evaluate(
        "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
        ".filter(entry => !new URL(entry.name).pathname.startsWith('/v1'))"
        ".map(entry => [new URL(entry.name).pathname, entry.encodedBodySize])"
    )
    assert sum(size for _, size in files) < BUDGET_BYTES, files
    asset = next(name for name, _ in files if name.endswith(".js"))
    headers = page.request.get(asset).headers
    assert "immutable" in headers["cache-control"]
    assert headers["content-encoding"] == "gzip"
    shell = page.request.get("/jobs/anything/below").headers
    assert shell["cache-control"] == "no-cache"
    assert shell["x-content-type-options"] == "nosniff"
    assert "unsafe" not in shell["content-security-policy"]
    assert page.request.get("/no/such/page").status == 404


def test_the_api_page_can_send_requests_under_its_own_policy(open_page) -> None:
    """A violation of the policy would appear on the console, and fail the test."""
    page = open_page("/docs", log_in=False)
    livez = page.locator(".opblock", has_text="/livez")
    livez.locator(".opblock-summary").click()
    livez.get_by_role("button", name="Try it out").click()
    livez.get_by_role("button", name="Execute").click()
    expect(livez.locator(".live-responses-table")).to_contain_text('"status": "ok"')


def test_the_manual_is_found_and_searched_in_the_browser(open_page) -> None:
    dashboard = open_page("/jobs")
    with dashboard.context.expect_page() as opened:
        dashboard.get_by_role("link", name="Manual").click()
    expect(opened.value.get_by_role("heading", level=1)).to_be_visible()
    page = open_page("/manual", log_in=False)
    page.get_by_role("button", name="Search").first.click()
    page.keyboard.type("generalisation")
    page.get_by_text("Whose a term is").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("The gap, term by term")


LONG = "a_name_as_long_as_folders_may_have_them_" * 3


def assert_narrow_with_long_names(page: Page) -> None:
    """Check that pages with long names and many classes do not scroll sideways, and leave the page as it was."""
    here = page.url
    job = here.partition("?")[0].rpartition("/")[2]
    classes = [f"{number}_{LONG}" for number in range(30)]
    matrix = [[5 if answer in (label, (label + 1) % 30) else 0 for answer in range(30)] for label in range(30)]

    def lengthen(route) -> None:
        answer = route.fetch()
        body = json.loads(answer.text().replace('"overfit"', f'"{LONG}"'))
        if "/confusion" in route.request.url:
            body["classes"] = classes
            for scores in body["splits"].values():
                one = scores["per_class"][0]
                scores |= {"confusion": matrix, "per_class": [{**one, "label": name} for name in classes]}
                scores["mistakes"] = [{**mistake, "label": LONG} for mistake in scores["mistakes"]]
        if route.request.url.endswith("/v1/datasets/mnist5k"):
            body |= {"name": LONG, "classes": classes}
        route.fulfill(response=answer, json=body)

    page.route(re.compile(r"/v1/(jobs/\w+(/confusion)?|datasets/mnist5k)$"), lengthen)
    for path, ready in (
        (here, "The most frequent confusions"),
        (f"/studies/new?job={job}", "Trainings"),
        ("/datasets/mnist5k", LONG),
        (f"/new?from={job}", "As JSON"),
    ):
        page.goto(path)
        expect(page.get_by_text(ready).last).to_be_attached()
        wide = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1], f"{path} scrolls sideways with long names"
    page.unroute_all()
    page.goto(here)
    expect(page.get_by_label("The gap", exact=True)).to_be_attached()


@pytest.mark.parametrize(("colours", "width"), [("light", 1440), ("dark", 390)], ids=["light wide", "dark narrow"])
def test_axe_finds_nothing_serious(colours: str, width: int, ended: str, open_page, pictures: Path | None) -> None:
    page = open_page("/jobs", colours=colours, width=width)
    for name, path, ready in (
        ("jobs", "/jobs", "Verdict"),
        ("job", f"/jobs/{ended}", "Which classes"),
        ("new", "/new", "As JSON"),
        ("none", "/jobs?search=nothing", "No matching jobs"),
        ("lost", "/no/such/page", "This page does not exist"),
    ):
        page.goto(path)
        expect(page.get_by_text(ready).last).to_be_attached()
        if name == "job":
            expect(page.get_by_label("The gap", exact=True)).to_be_attached()
            for summary in page.locator("summary").all():
                summary.click()
            expect(page.get_by_label("The gap", exact=True)).to_be_visible()
            expect(page.get_by_text("Waiting for a worker.")).to_be_visible()
            if width < 720:
                assert_narrow_with_long_names(page)
        assert_fit_for_all(page, f"{name}-{colours}-{width}", pictures)
    outside = open_page("/login", log_in=False, colours=colours, width=width)
    expect(outside.get_by_label("API key")).to_be_visible()
    assert_fit_for_all(outside, f"login-{colours}-{width}", pictures)


def test_characters_that_reverse_text_are_shown_as_escapes(client: Client, open_page) -> None:
    spec = json.loads((Path(__file__).resolve().parents[2] / "examples/overfit.json").read_text())
    turned = "report\u202egnp.exe"
    job = client.jobs.create({**spec, "name": turned, "priority": -100})
    client.jobs.cancel(job.id)
    assert client.jobs.get(job.id).name == turned, "the service returns it unchanged"
    page = open_page(f"/jobs/{job.id}")
    expect(page.get_by_role("heading", level=1)).to_have_text("report\\u202egnp.exe")
    assert "\u202e" not in page.locator("body").inner_text()
