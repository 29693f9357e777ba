"""Copies behind other pixel values are found once these are undone; what copies say of labels is heard."""

import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from analysis.arrays.relations import load_relations
from heldout.fixes.offers import make_offers
from heldout.spec.dataset import DatasetSpec
from tests.worker.ingest.audit.test_copies import make_dataset, scan_dataset
from tests.worker.ingest.uploads import npz, taken
from worker.ingest.audit import audit, compare_splits, look_again
from worker.ingest.audit.copies import build_relations, find_copies
from worker.ingest.pool import ProcessPool

SHADE = np.array([1.0, 0.8, 0.4])
COPIED = 60


def encode(image: np.ndarray) -> np.ndarray:
    """As another encoder leaves an image: with a little noise."""
    noise = np.random.default_rng(int(image.sum())).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).round().astype(np.uint8)


def plant(mnist5k, change, copy=lambda image: image, *, labels=None):
    """Colored digits: the first test images are copies of training images, and all test images are changed."""
    images = (mnist5k.images * SHADE).astype(np.uint8)
    labels = mnist5k.labels.copy() if labels is None else labels
    random = np.random.default_rng(1)
    train, test = (random.permutation(mnist5k.splits[split])[:1500] for split in ("train", "test"))
    images[test[:COPIED]] = [copy(image) for image in images[train[:COPIED]]]
    labels[test[:COPIED]] = labels[train[:COPIED]]
    images[test] = change(images[test])
    splits = {"train": train, "validation": mnist5k.splits["validation"][:400], "test": test}
    rows = np.concatenate(list(splits.values()))
    ends = np.cumsum([len(of_split) for of_split in splits.values()])[:-1]
    return images[rows], labels[rows], dict(zip(splits, np.split(np.arange(len(rows)), ends), strict=True))


def examine(folder, images, labels, splits):
    """Return the findings of an audit, its checks, and the related images."""
    dataset, pool = make_dataset(folder, images, labels, splits), ProcessPool(1)
    seen = scan_dataset(dataset)
    compared = compare_splits(dataset, pool)
    copies = look_again(dataset, compared.undone_by, find_copies(dataset, seen, pool), pool)
    found = audit(dataset, seen, copies, compared)
    return found.findings, found.checks, build_relations(copies, None)


@pytest.mark.parametrize(
    ("change", "undo", "copy"),
    [
        (lambda images: 255 - images, "invert", encode),
        (lambda images: images[..., ::-1], "swap_channels", lambda image: image),
        (lambda images: np.rot90(images, 1, (1, 2)), "turn_right", encode),
    ],
)
def test_copies_are_found_behind_other_pixel_values(tmp_path, mnist5k, change, undo, copy):
    images, labels, splits = plant(mnist5k, change, copy)
    findings, checks, relations = examine(tmp_path, images, labels, splits)
    test, train = splits["test"], splits["train"]
    found = relations.copy_of[test[:COPIED]] == relations.copy_of[train[:COPIED]]
    assert found.mean() >= 0.95
    assert relations.find_related(train)[test[COPIED:]].sum() == 0
    assert checks["copies"]["undone"] == ["test"]
    [leakage] = [finding for finding in findings if finding.code == "leakage"]
    assert leakage.numbers["test_in_train"]["images"] == found.sum()
    assert "once the pixel values of test are undone" in leakage.explanation
    offer = make_offers(findings)[findings.index(leakage)]
    assert offer == {"drop_copies": True, "pixel_values": {"test": undo}}


def test_copies_of_images_as_they_are_are_kept(tmp_path, mnist5k):
    """A few test images came without the mistake, so undoing it makes others of them."""
    images, labels, splits = plant(mnist5k, lambda images: 255 - images)
    test, train = splits["test"], splits["train"]
    images[test[-20:]] = images[train[-20:]]
    labels[test[-20:]] = labels[train[-20:]]
    _, _, relations = examine(tmp_path, images, labels, splits)
    for part in (slice(COPIED), slice(-20, None)):
        assert np.array_equal(relations.copy_of[test[part]], relations.copy_of[train[part]])


def test_an_ingest_stores_the_copies_that_it_found_behind_other_pixel_values(tmp_path, mnist5k):
    images, labels, splits = plant(mnist5k, lambda images: 255 - images)
    arrays = {
        f"{kind}_{split}": whole[rows]
        for split, rows in splits.items()
        for kind, whole in (("x", images), ("y", labels))
    }
    report, target = taken(npz(tmp_path / "a.npz", **arrays), DatasetSpec(name="digits"))
    audited = json.loads((target / "audit.json").read_text())
    assert audited["checks"]["copies"]["undone"] == ["test"]
    with (target / "relations.npz").open("rb") as file:
        copy_of = load_relations(file).copy_of
    train = np.flatnonzero(np.isin(copy_of, copy_of[: len(splits["train"])]))
    assert len(train) == len(splits["train"]) + COPIED
    assert any(finding.code == "leakage" for finding in report.findings)


def test_copies_among_blurred_images_are_said_to_be_unknown(tmp_path, mnist5k):
    def blur(images):
        pictures = [Image.fromarray(image).filter(ImageFilter.GaussianBlur(2.5)) for image in images]
        return np.stack([np.asarray(picture) for picture in pictures])

    images, labels, splits = plant(mnist5k, blur)
    findings, checks, _ = examine(tmp_path, images, labels, splits)
    [shift] = [finding for finding in findings if finding.code == "split_shift"]
    assert shift.numbers["quality"]["kind"] == "blur"
    assert shift.numbers["quality"]["strength"] == pytest.approx(2.5, rel=0.25)
    assert "The test images are blurred." in shift.explanation
    assert "how many there are is not known" in shift.explanation
    assert checks["copies"]["unknown"] == ["test"]


# --- what labels of copies say -------------------------------------------------------------------


@pytest.mark.parametrize(("share", "is_offered"), [(1.0, True), (0.0, False)])
def test_a_renaming_is_not_offered_against_the_labels_of_copies(tmp_path, mnist5k, share, is_offered):
    """All test labels but those of copies are in another order: the copies show that the order is right."""
    labels = mnist5k.labels.copy()
    test = mnist5k.splits["test"]
    labels[test] = (labels[test] + 1) % 10
    images, labels, splits = plant(mnist5k, lambda images: images, labels=labels)
    copied = splits["test"][:COPIED]
    labels[copied] = (labels[copied] + round(share)) % 10
    findings, _, _ = examine(tmp_path, images, labels, splits)
    assert ("label_order_mismatch" in {finding.code for finding in findings}) == is_offered
    renamed = [offer for offer in make_offers(findings) if offer is not None and "rename_classes" in offer]
    assert bool(renamed) == is_offered


def test_a_renaming_of_which_no_copy_says_anything_is_offered(tmp_path, mnist5k):
    labels = mnist5k.labels.copy()
    test = mnist5k.splits["test"]
    labels[test] = (labels[test] + 1) % 10
    findings, _, _ = examine(tmp_path, mnist5k.images, labels, mnist5k.splits)
    assert "label_order_mismatch" in {finding.code for finding in findings}


def test_disagreeing_copies_say_how_many_labels_are_wrong(tmp_path, mnist5k):
    """A fifth of the labels of both splits is wrong, so two copies agree in about two thirds of the cases."""
    images, labels, splits = plant(mnist5k, lambda images: images)
    rows = np.concatenate([splits["train"][:400], splits["test"][:400]])
    images[splits["test"][:400]] = images[splits["train"][:400]]
    labels[splits["test"][:400]] = labels[splits["train"][:400]]
    random = np.random.default_rng(3)
    wrong = rows[random.random(len(rows)) < 0.2]
    labels[wrong] = (labels[wrong] + random.integers(1, 10, len(wrong))) % 10
    findings, _, _ = examine(tmp_path, images, labels, splits)
    [conflict] = [finding for finding in findings if finding.code == "label_conflicts"]
    said = conflict.numbers["wrong_labels"]
    assert said["pairs"] == 400
    assert said["share"] == pytest.approx(len(wrong) / len(rows), abs=0.03)
    assert said["interval"][0] < len(wrong) / len(rows) < said["interval"][1]
    assert "labels are wrong" in conflict.explanation
