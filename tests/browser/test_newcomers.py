"""A newcomer's first half hour by clicks alone: two archives become a prediction, and faulty test splits are fixed."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from heldout.client.client import Client
from tests.browser.looks import assert_fit_at_every_size
from tests.e2e.running import until
from tests.newcomer_sets import WORDS, list_files, pack, read_digits

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

MOST_CLICKS = 15
# Session storage keeps the count from page to page.
COUNT_CLICKS = """addEventListener('click', event => {
  if (event.isTrusted) sessionStorage.clicks = 1 + Number(sessionStorage.clicks ?? 0)
}, true)"""


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return read_digits()


def choose(page: Page, button: str, paths: list[Path] | Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button, exact=True).first.click()
    chooser.value.set_files(paths)


def drop(page: Page, paths: list[Path]) -> None:
    """Drop files and folders on the browser's window as a user does."""
    place = page.get_by_label("Upload", exact=True).bounding_box()
    assert place
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for event in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": event, "x": place["x"] + 9, "y": place["y"] + 9, "data": data})


def test_two_zips_become_a_prediction_in_fifteen_clicks(
    client: Client, digits, tmp_path: Path, open_page, pictures: Path | None
) -> None:
    images, labels = digits
    train, test = (
        pack(tmp_path / "train.zip", list_files(images[:600], labels[:600])),
        pack(tmp_path / "test.zip", list_files(images[600:], labels[600:])),
    )
    own = tmp_path / "mine.png"
    Image.fromarray(images[0]).save(own)
    page = open_page("/jobs", width=390)
    page.context.add_init_script(COUNT_CLICKS)
    page.reload()

    page.get_by_role("link", name="Datasets").click()
    choose(page, "Choose files", [train, test])
    expect(page.get_by_label("What was dropped").get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_label("Name", exact=True)).to_have_value("images")
    assert_fit_at_every_size(page, "newcomer-upload", pictures)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/datasets/ds_*")
    page.get_by_role("link", name="Train on it").click()
    expect(page.get_by_text("valid", exact=True)).to_be_visible()
    assert_fit_at_every_size(page, "newcomer-new-job", pictures)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**/jobs/job_*")
    expect(page.get_by_role("heading", name="Try it")).to_be_visible(timeout=120_000)
    choose(page, "Choose files", own)
    answer = page.get_by_label("Answers").get_by_role("listitem").first
    expect(answer).to_contain_text("%")
    assert_fit_at_every_size(page, "newcomer-prediction", pictures)

    assert int(page.evaluate("sessionStorage.clicks")) <= MOST_CLICKS
    job_id = page.url.rpartition("/")[2].partition("?")[0]
    [wanted] = client.jobs.predict(job_id, [own.read_bytes()]).predictions
    expect(answer).to_contain_text(wanted.answer)
    splits = client.datasets.get("images").splits
    assert splits
    assert (splits.train.count + splits.validation.count, splits.test.count) == (600, 200)


@pytest.mark.parametrize(("fault", "width"), [("inverted", 390), ("relabelled", 1280)])
def test_a_faulty_test_split_is_fixed_by_clicks(
    client: Client, digits, tmp_path: Path, open_page, pictures: Path | None, fault: str, width: int
) -> None:
    images, labels = digits
    wrong = {
        "inverted": list_files(255 - images[600:], labels[600:]),
        "relabelled": list_files(images[600:], (labels[600:] + 1) % 10),
    }[fault]
    archives = [
        pack(tmp_path / f"{fault}_train.zip", list_files(images[:600], labels[:600])),
        pack(tmp_path / f"{fault}_test.zip", wrong),
    ]
    page = open_page("/datasets", width=width)
    choose(page, "Choose files", archives)
    expect(page.get_by_label("Name", exact=True)).to_have_value(fault)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/datasets/ds_*")
    before = page.url
    fix = page.get_by_role("link", name="Fix it")
    expect(fix.first).to_be_visible()
    assert_fit_at_every_size(page, f"newcomer-{fault}-found", pictures)
    fix.first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Changes 200 of 200 test images.")
    expect(dialog.get_by_label("Changed images").get_by_role("img")).to_have_count(12)
    assert_fit_at_every_size(page, f"newcomer-{fault}-preview", pictures)
    dialog.get_by_role("button", name="Make the version").click()
    page.wait_for_url(lambda url: "/datasets/ds_" in url and url.partition("?")[0] != before)
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    expect(page.get_by_label("Audit")).to_be_visible()
    expect(page.get_by_role("link", name="Fix it")).to_have_count(0)
    assert_fit_at_every_size(page, f"newcomer-{fault}-fixed", pictures)

    fixed = client.datasets.get(page.url.rpartition("/")[2])
    first = client.datasets.images(fixed.id, split="test", class_="three", limit=1).data[0]
    # Whatever the file was called, its class is now what the image shows.
    number = int(Path(first.member or "").stem)
    assert WORDS[labels[600 + number]] == "three"
    tile = Image.open(io.BytesIO(client.datasets.image(fixed.id, first.index))).convert("L").resize((16, 16))
    likeness = np.corrcoef(np.asarray(tile).ravel(), images[600 + number].ravel())[0, 1]
    assert likeness > 0.95  # it would be below -0.95 if light and dark were still swapped


def test_more_images_become_a_new_version_by_clicks(client: Client, digits, tmp_path: Path, open_page) -> None:
    images, labels = digits
    first = tmp_path / "few.npz"
    np.savez(first, x_train=images[:200], y_train=labels[:200], x_test=images[600:], y_test=labels[600:])
    base = client.datasets.upload(client.datasets.create({"name": "few"}).id, first)
    until(lambda: client.datasets.get(base.id).status == "ready", "the check of a dataset")
    more = tmp_path / "more.npz"
    np.savez(more, x=images[200:600], y=labels[200:600])
    page = open_page(f"/datasets/{base.id}")
    page.get_by_role("link", name="Add images").click()
    choose(page, "Choose files", more)
    expect(page.get_by_label("Name", exact=True)).to_have_value("few")
    expect(page.get_by_label("Those of few@1 and those in the files above")).to_be_checked()
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url(lambda url: "/datasets/ds_" in url and base.id not in url)
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    made, before = client.datasets.get("few@2"), client.datasets.get("few@1").splits
    assert made.derived_from
    assert made.splits
    assert before
    assert made.derived_from.dataset.version == 1
    assert (made.splits.train.count, made.splits.test.count) == (before.train.count + 400, 200)
    # The earlier images come first, so the same rows are held out.
    after, earlier = client.datasets.split_indices("few@2"), client.datasets.split_indices("few@1")
    assert (after.test, after.validation) == (earlier.test, earlier.validation)


def test_folders_and_archives_are_dropped_together_and_nothing_is_ignored_silently(
    client: Client, digits, tmp_path: Path, open_page
) -> None:
    images, labels = digits
    for name, content in list_files(images[:300], labels[:300]).items():
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "train" / ".DS_Store").write_bytes(b"")
    test = pack(tmp_path / "test.zip", list_files(images[600:], labels[600:]))
    table, stray = tmp_path / "labels.csv", tmp_path / "one.png"
    table.write_text("file,label\n")
    Image.fromarray(images[0]).save(stray)
    page = open_page("/datasets")
    drop(page, [tmp_path / "train", test])
    dropped = page.get_by_label("What was dropped").get_by_role("listitem")
    expect(dropped).to_have_count(3)
    page.get_by_label("Name", exact=True).fill("dropped")
    page.get_by_label("Description").fill("kept")
    drop(page, [table, stray])
    expect(dropped).to_have_count(5)
    expect(dropped.nth(0)).to_contain_text("folder with 300 images")
    for name, why in (
        ("labels.csv", "Labels are read from the names of folders"),
        ("one.png", "An image by itself has no class"),
        ("System files", "1 file"),
    ):
        expect(dropped.filter(has_text=name)).to_contain_text("Not sent")
        expect(dropped.filter(has_text=name)).to_contain_text(why)
    page.get_by_role("button", name="Choose again").click()
    expect(dropped).to_have_count(0)
    expect(page.get_by_label("Description")).to_have_value("kept")
    drop(page, [tmp_path / "train", test])
    expect(page.get_by_label("Name", exact=True)).to_have_value("dropped")
    page.get_by_role("button", name="Upload", exact=True).click()
    page.wait_for_url("**/datasets/ds_*")
    made = until(
        lambda: (now := client.datasets.get(page.url.rpartition("/")[2])).status == "ready" and now,
        "the check of a dataset",
    )
    assert made.splits
    assert (made.splits.train.count + made.splits.validation.count, made.splits.test.count) == (300, 200)
    assert (made.name, made.description) == ("dropped", "kept")
