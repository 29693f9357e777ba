"""People drop, audit, browse and fix datasets in the dashboard with the mouse. Every figure comes from the API."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from heldout.client.client import Client
from heldout.views.dataset import DatasetView
from models.bundled import BUNDLED
from tests.browser.looks import assert_fit_for_all
from tests.browser.words import percent
from tests.e2e.running import until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="session")
def faulty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits with some test images that are also in train, and some wrong labels."""
    digits = BUNDLED["digits"].read(Path("/nonexistent"))
    chosen = np.random.default_rng(0).permutation(len(digits.images))[:500]
    images, labels = digits.images[chosen] * 15, digits.labels[chosen].copy()
    images[400:415], labels[400:415] = images[:15], labels[:15]
    labels[100:110] = (labels[100:110] + 3) % 10
    path = tmp_path_factory.mktemp("faulty") / "My Digits.npz"
    np.savez_compressed(path, x_train=images[:400], y_train=labels[:400], x_test=images[400:], y_test=labels[400:])
    return path


@pytest.fixture(scope="session")
def faulty(client: Client, faulty_file: Path) -> DatasetView:
    return ready(client, client.datasets.upload(client.datasets.create({"name": "faulty"}).id, faulty_file).id)


def ready(client: Client, dataset_id: str) -> DatasetView:
    return until(lambda: (now := client.datasets.get(dataset_id)).status == "ready" and now, "the check of a dataset")


def drop(page: Page, path: Path) -> None:
    """Drop a file on the page as a user does."""
    held = page.evaluate_handle(
        "([name, bytes]) => { const held = new DataTransfer();"
        " held.items.add(new File([new Uint8Array(bytes)], name)); return held }",
        [path.name, list(path.read_bytes())],
    )
    page.get_by_label("Upload", exact=True).dispatch_event("drop", {"dataTransfer": held})


def has_loaded(picture: Locator) -> None:
    picture.scroll_into_view_if_needed()
    until(lambda: picture.evaluate("image => image.complete && image.naturalWidth > 0"), "a picture")


def test_a_file_is_dropped_checked_and_fixed_by_click(client: Client, faulty_file: Path, open_page) -> None:
    page = open_page("/datasets")
    drop(page, faulty_file)
    expect(page.get_by_label("Name", exact=True)).to_have_value("my-digits")
    page.get_by_label("Name", exact=True).fill("Mine!")
    expect(page.get_by_text('Use lowercase letters only, such as "mine".')).to_be_visible()
    expect(page.get_by_label("Name", exact=True)).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("button", name="Upload")).to_be_disabled()
    page.get_by_label("Name", exact=True).fill("mine")
    page.get_by_label("Validation share").fill("25")
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/datasets/ds_*")
    # This happens without a reload.
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    dataset = client.datasets.get(page.url.rpartition("/")[2])
    assert (dataset.name, dataset.version) == ("mine", 1)
    # The file has its own test split. A quarter of each class of its 400 training images becomes validation.
    assert dataset.splits
    assert (dataset.splits.test.count, dataset.splits.train.count + dataset.splits.validation.count) == (100, 400)
    assert 85 <= dataset.splits.validation.count <= 100
    audit = client.datasets.audit(dataset.id)
    shown = page.get_by_label("Audit")
    expect(shown.locator("h3")).to_have_count(len(audit.findings))
    for finding in audit.findings:
        expect(shown).to_contain_text(finding.explanation.replace("`", ""))
    assert audit.question  # validation was cut at random
    question = page.get_by_role("link", name="How to name images that belong together")
    expect(question).to_have_attribute("href", f"/manual/{audit.question.page}")
    expect(shown).to_contain_text("The same images in several splits")
    has_loaded(shown.get_by_role("img").first)

    page.goto(f"/datasets/{dataset.id}?job=job_of_before")  # as the pages of jobs lead here
    page.get_by_role("link", name="Fix it").first.click()
    [found] = [finding for finding in audit.findings if finding.code == "leakage"]
    assert found.effect
    expect(page.get_by_role("dialog")).to_contain_text(found.effect.summary)
    expect(page.get_by_role("dialog")).to_contain_text("only one stays")
    page.get_by_role("button", name="Make the version").click()
    page.wait_for_url(lambda url: "/datasets/ds_" in url and dataset.id not in url)
    expect(page.get_by_role("heading", level=1)).to_have_text("mine@2")
    fixed = ready(client, page.url.rpartition("/")[2].partition("?")[0])
    assert fixed.derived_from
    assert fixed.derived_from.changes == {"drop_copies": True}
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    again = page.get_by_role("link", name="Train the job again on it")
    expect(again).to_have_attribute("href", "/new?from=job_of_before&dataset=mine%402")
    page.reload()
    expect(again).to_have_attribute("href", "/new?from=job_of_before&dataset=mine%402")
    expect(page.get_by_label("Audit")).to_be_visible()
    expect(page.get_by_text("The same images in several splits")).to_have_count(0)


def test_the_contact_sheet_shows_a_class_of_a_split_and_enlarges_images(
    client: Client, faulty: DatasetView, open_page
) -> None:
    page = open_page(f"/datasets/{faulty.id}")
    assert faulty.splits
    assert faulty.classes
    until(lambda: page.locator(".counts tbody tr").count() == len(faulty.classes or ()), "the counts")
    rows = [row.locator("th, td").all_inner_texts() for row in page.locator(".counts tbody tr").all()]
    counts = [getattr(faulty.splits, split).per_class for split in SPLITS]
    assert rows == [[name, *map(str, numbers)] for name, *numbers in zip(faulty.classes, *counts, strict=True)]

    page.get_by_label(re.compile(r"test images of 3$")).click()
    wanted = client.datasets.images(faulty.id, split="test", class_="3", limit=48)
    sheet = page.locator(".sheet img")
    expect(sheet).to_have_count(len(wanted.data))
    assert [tile.get_attribute("src") for tile in sheet.all()] == [image.thumbnail for image in wanted.data]
    assert "split=test&class=3" in page.url
    sheet.first.click()
    large = page.get_by_role("dialog").get_by_role("img")
    has_loaded(large)
    page.get_by_role("button", name="Next →").click()
    expect(large).to_have_attribute("src", wanted.data[1].thumbnail)
    page.keyboard.press("ArrowLeft")
    expect(large).to_have_attribute("src", wanted.data[0].thumbnail)


def test_a_change_that_a_job_proposes_is_shown_on_the_datasets_page(faulty: DatasetView, open_page) -> None:
    page = open_page(f'/datasets/{faulty.id}?fix={{"drop_copies":true}}&job=job_of_before')
    expect(page.get_by_role("dialog")).to_contain_text("only one stays")
    page.get_by_role("button", name="Leave it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert "fix" not in page.url
    expect(page.get_by_role("link", name="Train the job again on it")).to_have_attribute(
        "href", f"/new?from=job_of_before&dataset=faulty%40{faulty.version}"
    )


def assert_fit_in_both_widths(page: Page, name: str, pictures: Path | None) -> None:
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert_fit_for_all(page, f"{name}-{width}", pictures)


@pytest.fixture
def alike(client: Client, tmp_path: Path) -> DatasetView:
    """Digits, six of which are also in test, darker and with another label."""
    digits = BUNDLED["digits"].read(Path("/nonexistent"))
    images, labels = digits.images[:300] * 15.0, digits.labels[:300].copy()
    images[280:286], labels[280:286] = np.round(images[:6] * 0.8), (labels[:6] + 1) % 10
    path, images = tmp_path / "alike.npz", images.astype(np.uint8)
    np.savez_compressed(path, x_train=images[:240], y_train=labels[:240], x_test=images[240:], y_test=labels[240:])
    return ready(client, client.datasets.upload(client.datasets.create({"name": "alike"}).id, path).id)


def test_the_user_is_asked_about_look_alikes_and_leaves_them_out_or_keeps_them(
    client: Client, alike: DatasetView, open_page, pictures: Path | None
) -> None:
    page = open_page(f"/datasets/{alike.id}")
    question = page.get_by_label("Audit")
    pairs = question.locator(".pairs li").filter(has=page.get_by_role("button"))
    expect(pairs).to_have_count(6)
    has_loaded(pairs.first.get_by_role("img").first)
    assert_fit_in_both_widths(page, "look-alikes", pictures)
    pairs.first.get_by_role("button", name="They are different").click()
    # This happens without a reload.
    expect(pairs).to_have_count(5)
    [finding] = [found for found in client.datasets.audit(alike.id).findings if found.code == "look_alikes"]
    assert finding.numbers["pairs"] == 5

    question.get_by_role("link", name="Leave them out: 10 images").click()
    dialog = page.get_by_role("dialog")
    assert finding.effect
    expect(dialog).to_contain_text(finding.effect.summary)
    expect(dialog.get_by_label("Removed images").get_by_role("img")).to_have_count(10)
    assert_fit_in_both_widths(page, "look-alikes-left-out", pictures)
    page.get_by_role("button", name="Make the version").click()
    page.wait_for_url(lambda url: "/datasets/ds_" in url and alike.id not in url)
    fixed = ready(client, page.url.rpartition("/")[2])
    assert fixed.splits
    assert alike.splits
    assert finding.effect.removes.test == alike.splits.test.count - fixed.splits.test.count == 5
    # The pair marked as different is still there, and the user is not asked about it again.
    assert "look_alikes" not in {found.code for found in client.datasets.audit(fixed.id).findings}


def test_suspected_labels_form_a_work_list_that_becomes_a_version(
    client: Client, faulty: DatasetView, open_page
) -> None:
    page = open_page(f"/datasets/{faulty.id}")
    page.get_by_role("button", name="Look for them").click()
    rows = page.locator(".work-list li")
    expect(rows.first).to_be_visible(timeout=200_000)
    first, second = client.datasets.suspects(faulty.id, limit=2).data
    expect(rows.first).to_contain_text(f"{first.label}, looks like {first.suggested}")
    assert first.probability is not None
    expect(rows.first).to_contain_text(f"{percent(first.probability, 0)} wrong")
    rows.nth(0).get_by_role("button", name=f"it is {first.suggested}").click()
    rows.nth(1).get_by_role("button", name="leave it out").click()
    page.get_by_role("button", name="Make a version with 2 changes").click()
    page.get_by_role("button", name="Make the version").click()
    page.wait_for_url(lambda url: "/datasets/ds_" in url and faulty.id not in url)
    made = client.datasets.get(page.url.rpartition("/")[2])
    assert made.derived_from
    assert made.derived_from.changes == {"relabel": {str(first.index): first.suggested}, "exclude": [second.index]}


@pytest.mark.parametrize(("colours", "width"), [("light", 1440), ("dark", 390)], ids=["light wide", "dark narrow"])
def test_pages_of_datasets_are_accessible(
    colours: str, width: int, faulty: DatasetView, open_page, pictures: Path | None
) -> None:
    page = open_page("/datasets", colours=colours, width=width)
    for name, path, ready_text in (
        ("datasets", "/datasets", "Drop files or folders here"),
        ("dataset", f"/datasets/{faulty.id}", "How often you have looked"),
        ("no-dataset", "/datasets/unknown", "Not found"),
    ):
        page.goto(path)
        expect(page.get_by_text(ready_text).last).to_be_attached()
        expect(page.get_by_text("Loading")).to_have_count(0)
        assert_fit_for_all(page, f"{name}-{colours}-{width}", pictures)


def test_one_size_is_proposed_before_the_upload_and_can_be_given_after_it(
    client: Client, open_page, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "photos.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for number in range(40):
            pixels = random.integers(0, 256, ((80, 60, 3), (60, 80, 3))[number % 2], np.uint8)
            Image.fromarray(pixels).save(file := io.BytesIO(), "BMP")
            packed.writestr(f"{('cat', 'dog')[number // 20]}/{number}.bmp", file.getvalue())
    page = open_page("/datasets")
    drop(page, tmp_path / "photos.zip")
    expect(page.get_by_text("40 images that were looked at have 2 sizes, such as 80 × 60 and 60 × 80.")).to_be_visible()
    expect(page.get_by_label("Resize to (pixels)")).to_have_value("48")
    page.get_by_label("Resize to (pixels)").fill("")  # as one who knows better
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/datasets/ds_*")
    expect(page.get_by_role("heading", name="This upload was rejected")).to_be_visible()
    page.reload()
    expect(page.get_by_text("nothing has to be sent again")).to_be_visible()
    page.get_by_label("Resize to (pixels)").fill("32")
    page.get_by_role("button", name="Read it with this size").click()
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    dataset = client.datasets.get("photos@1")
    assert dataset.view.shape == (32, 32, 3)
    assert page.url.endswith(dataset.id)
