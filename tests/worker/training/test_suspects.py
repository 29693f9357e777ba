"""The search for wrong labels: folds keep related images together, and planted labels are found but not hard images."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.arrays.dataset import SPLITS, ImageSet, save
from analysis.arrays.features import Picture, save_features
from analysis.arrays.relations import FILE_NAME, Relations, save_relations
from heldout.stored.audit import StoredSuspects
from heldout.stored.looks import FEATURES_FILE
from worker.messages import Alive, AssignedDataset, Failed, ResultWritten, SuspectAssignment
from worker.training import child
from worker.training.suspects.estimate import LabelEstimate, estimate
from worker.training.suspects.planting import plant
from worker.training.suspects.run import _search_images
from worker.training.suspects.search import (
    choose_seen_size,
    choose_training_rows,
    find_suspects,
    make_small_images,
)

# --- folds ---------------------------------------------------------------------------------------


def test_units_are_joined_by_chains_of_copies_and_groups():
    relations = Relations(np.array([0, 0, 2, 3, 4, 4], np.int32), np.array([7, 8, 8, 9, 9, 1], np.int32))
    assert relations.units().tolist() == [0, 0, 0, 3, 3, 3]
    assert Relations(np.array([0, 0, 2], np.int32)).units().tolist() == [0, 0, 2]


def test_a_network_is_trained_on_a_share_of_each_class_of_the_allowed_images():
    labels = np.repeat([0, 1], [300, 100]).astype(np.int32)
    rows = choose_training_rows(labels, np.arange(400) % 2 == 0, 40)
    assert np.bincount(labels[rows]).tolist() == [30, 10]
    assert (rows % 2 == 0).all()


# --- pixels --------------------------------------------------------------------------------------


def test_large_images_are_reduced_and_small_ones_are_unchanged():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 70, 64, 3), np.uint8)
    images = ImageSet(pixels, np.zeros(5, np.int32), {}, ("a",), (0, 255))
    assert choose_seen_size(images) == (23, 21)
    small, value_range = make_small_images(images)
    assert (small.shape, small.dtype, value_range) == ((5, 23, 21, 3), np.uint8, (0, 255))
    assert np.array_equal(small[4, 22, 20], np.rint(pixels[4, 66:69, 60:63].mean(axis=(0, 1))))
    kept = replace(images, images=pixels[:, :32, :32], value_range=(0, 16))
    assert np.array_equal(make_small_images(kept)[0], kept.images)
    assert make_small_images(kept)[1] == (0, 16)
    of_floats = replace(images, images=(pixels / 255 * 2 - 1).astype(np.float32), value_range=(-1, 1))
    assert np.abs(make_small_images(of_floats)[0].astype(int) - small).max() <= 1
    assert choose_seen_size(replace(images, images=np.zeros((2, 8, 400, 1), np.uint8))) == (1, 30)
    many = replace(images, images=np.broadcast_to(np.uint8(0), (10**6, 32, 32, 3)))
    assert choose_seen_size(many) == (10, 10)


# --- judging -------------------------------------------------------------------------------------


def make_answers(true: np.ndarray, sure: np.ndarray, classes: int) -> np.ndarray:
    """Give the true class the probability `sure`, and the next class the rest."""
    probabilities = np.full((len(true), classes), 1e-4)
    probabilities[np.arange(len(true)), (true + 1) % classes] = 1 - sure
    probabilities[np.arange(len(true)), true] = sure
    return probabilities / probabilities.sum(axis=1, keepdims=True)


def draw_answers(draws: np.random.Generator, classes: int, count: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    """Return true classes and answers of calibrated networks."""
    true = draws.integers(0, classes, count).astype(np.int32)
    sure = draws.beta(8, 0.5, count)
    seen = np.where(draws.random(count) < sure, true, (true - 1) % classes)
    return true, make_answers(seen, sure, classes)


def estimate_labels(probabilities: np.ndarray, labels: np.ndarray, **splits: np.ndarray) -> LabelEstimate:
    return estimate(probabilities, labels, splits or {"train": np.arange(len(labels))}, seed=0)


@pytest.mark.parametrize("share", [0.05, 0.15, 0.35])
def test_planted_labels_are_found_and_counted(share):
    draws = np.random.default_rng(1)
    true, probabilities = draw_answers(draws, 10)
    wrong = draws.random(3000) < share
    labels = np.where(wrong, (true + draws.integers(1, 10, 3000)) % 10, true).astype(np.int32)
    estimated = estimate_labels(probabilities, labels)
    assert estimated.verdict == "can_tell"
    assert estimated.counts.count == pytest.approx(wrong.sum(), rel=0.1)
    assert estimated.counts.low <= wrong.sum() <= estimated.counts.high
    judged = estimated.judged
    first = np.argsort(-judged.scores)[: wrong.sum() // 2]
    assert wrong[first].mean() > 0.98
    assert np.mean(judged.suggested[wrong & (judged.wrong > 0.5)] == true[wrong & (judged.wrong > 0.5)]) > 0.9
    for these in (judged.wrong < 0.5, judged.wrong > 0.5):  # the stated probability is about right or too low
        assert -0.05 < wrong[these].mean() - judged.wrong[these].mean() < 0.1


def test_wrong_labels_are_counted_in_their_split():
    draws = np.random.default_rng(5)
    true, probabilities = draw_answers(draws, 10)
    splits = dict(zip(("train", "validation", "test"), np.split(draws.permutation(3000), (1800, 2400)), strict=True))
    labels = true.copy()
    labels[splits["test"][:180]] = (labels[splits["test"][:180]] + 3) % 10
    estimated = estimate_labels(probabilities, labels, **splits)
    assert estimated.splits["test"].low <= 180 <= estimated.splits["test"].high
    assert estimated.splits["test"].count == pytest.approx(180, rel=0.15)
    for split in ("train", "validation"):
        assert estimated.splits[split].count <= 0.015 * estimated.splits[split].images


def test_all_labels_of_one_split_may_be_wrong():
    """For example, if its classes are numbered from another first number."""
    draws = np.random.default_rng(7)
    true, probabilities = draw_answers(draws, 10)
    splits = dict(zip(("train", "validation", "test"), np.split(draws.permutation(3000), (1200, 1800)), strict=True))
    labels = true.copy()
    labels[splits["test"]] = (labels[splits["test"]] + 1) % 10
    estimated = estimate_labels(probabilities, labels, **splits)
    assert estimated.verdict == "can_tell"
    assert estimated.splits["test"].count >= 0.97 * 1200
    assert estimated.splits["test"].high == 1200
    assert estimated.splits["train"].low == estimated.splits["validation"].low == 0
    assert estimated.counts.count == pytest.approx(sum(split.count for split in estimated.splits.values()), rel=0.1)


def test_a_confusion_that_networks_have_learned_is_found():
    draws = np.random.default_rng(6)
    true = draws.integers(0, 5, 2000).astype(np.int32)
    wrong = draws.random(2000) < 0.35
    labels = np.where(wrong, (true + 1) % 5, true).astype(np.int32)
    probabilities = make_answers(true, draws.beta(13, 7, 2000), 5)  # the next class is as frequent as in the labels
    estimated = estimate_labels(probabilities, labels)
    assert estimated.counts.low <= wrong.sum() <= estimated.counts.high
    assert wrong[np.argsort(-estimated.judged.scores)[:500]].mean() > 0.95


def test_hard_images_with_right_labels_are_not_suspected():
    draws = np.random.default_rng(2)
    true = draws.integers(0, 4, 2000).astype(np.int32)
    sure = np.where(np.arange(2000) < 1000, 0.99, 0.55)  # half of them could be of two classes
    seen = np.where(draws.random(2000) < sure, true, (true - 1) % 4)
    estimated = estimate_labels(make_answers(seen, sure, 4), true)
    assert np.mean(make_answers(seen, sure, 4).argmax(axis=1) != true) > 0.2
    assert estimated.counts.count < 20
    assert (estimated.judged.wrong > 0.5).sum() < 20


def test_networks_that_did_not_learn_recognize_nothing():
    labels = np.random.default_rng(3).integers(0, 2, 400).astype(np.int32)
    guesses = np.random.default_rng(4).dirichlet([1, 1], 400)
    assert estimate_labels(guesses, labels).verdict == "too_hard"
    assert estimate_labels(np.eye(2)[labels], labels).verdict == "can_tell"


def test_networks_that_are_right_a_little_more_often_than_guesses_of_two_classes_cannot_tell():
    """Networks are right about 78% of the labels, where guesses are right about half."""
    draws = np.random.default_rng(6)
    true = draws.integers(0, 2, 3000).astype(np.int32)
    sure = 0.5 + 0.5 * draws.beta(4, 1, 3000)
    seen = np.where(draws.random(3000) < sure, true, 1 - true)
    labels = np.where(draws.random(3000) < 0.15, 1 - true, true).astype(np.int32)
    answers = make_answers(seen, sure, 2)
    assert np.mean(answers.argmax(axis=1) == labels) == pytest.approx(0.78, abs=0.01)
    assert estimate_labels(answers, labels).verdict == "too_hard"


def test_the_estimate_for_a_clean_set_is_zero():
    labels = np.arange(2000, dtype=np.int32) % 10
    estimated = estimate_labels(make_answers(labels, np.full(2000, 0.99), 10), labels)
    assert (estimated.counts.count, estimated.counts.low) == (0, 0)
    assert estimated.counts.high <= 10
    assert not (estimated.judged.wrong > 0.5).any()


def test_a_search_measures_its_success_by_labels_that_it_changes():
    """One class is never recognized, so its changed labels are not found."""
    draws = np.random.default_rng(7)
    true, probabilities = draw_answers(draws, 4)
    unknown = true == 3
    probabilities[unknown] = draws.dirichlet([1, 1, 1, 1], unknown.sum())
    estimated = estimate_labels(probabilities, true)
    assert estimated.planted.planted == pytest.approx((true != 3).sum(), rel=0.01)
    assert (estimated.judged.wrong[unknown] == 0).all()
    found, agreement = (
        {part.label: getattr(part, name) for part in estimated.classes} for name in ("found", "agreement")
    )
    assert min(found[label] for label in range(3)) > 2 * found[3]
    assert min(agreement[label] for label in range(3)) > 0.9 > 0.5 > agreement[3]


def draw_rare_classes(draws: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and answers where networks never name the last four of ten classes, which are rare."""
    labels = np.repeat(np.arange(10, dtype=np.int32), [440] * 6 + [70] * 4)
    seen = np.where(labels < 6, labels, draws.integers(0, 6, len(labels)))
    return labels, make_answers(seen, draws.beta(12, 0.5, len(labels)), 6) @ np.eye(6, 10) + 1e-5


def test_no_label_of_a_class_that_networks_do_not_know_is_accused():
    draws = np.random.default_rng(8)
    labels, answers = draw_rare_classes(draws)
    estimated = estimate_labels(answers, labels)
    assert estimated.verdict == "can_tell"
    assert (estimated.judged.wrong[labels >= 6] == 0).all()
    assert estimated.is_judged.tolist() == (labels < 6).tolist()
    assert np.isin(np.argsort(-estimated.judged.scores)[:20], np.flatnonzero(labels < 6)).all()
    assert estimated.counts.count <= 10
    assert [of.wrong is None for of in estimated.classes] == 6 * [False] + 4 * [True]
    assert estimated.splits["train"].images == 6 * 440


def test_wrong_labels_are_counted_in_their_class_beside_classes_that_networks_do_not_know():
    draws = np.random.default_rng(9)
    true, answers = draw_rare_classes(draws)
    labels = true.copy()
    wrong = np.flatnonzero(true < 5)[draws.permutation(2200)[:200]]
    labels[wrong] = 5
    estimated = estimate_labels(answers, labels)
    assert estimated.counts.low <= 200 <= estimated.counts.high
    counted = [of.wrong for of in estimated.classes]
    assert counted[5] == pytest.approx(200, rel=0.25)
    assert max(counted[:5]) < 20
    assert counted[6:] == 4 * [None]
    assert np.mean(estimated.judged.suggested[wrong] == true[wrong]) > 0.8


def test_the_surest_answers_tell_hard_images_from_wrong_labels():
    draws = np.random.default_rng(10)
    true = draws.integers(0, 4, 2000).astype(np.int32)
    sure = draws.uniform(0.3, 1, 2000)
    seen = np.where(draws.random(2000) < sure, true, (true + draws.integers(1, 4, 2000)) % 4)
    answers = make_answers(seen, np.maximum(sure, 0.4), 4)
    labels = np.where(draws.random(2000) < 0.25, (true + draws.integers(1, 4, 2000)) % 4, true).astype(np.int32)
    hard, wrong = estimate_labels(answers, true), estimate_labels(answers, labels)
    assert hard.verdict == wrong.verdict == "too_hard"
    assert hard.surest_agreement == pytest.approx(0.93, abs=0.03)
    assert wrong.surest_agreement == pytest.approx(0.75 * 0.93, abs=0.05)


def test_the_planted_labels_among_the_first_of_a_list_are_counted():
    draws = np.random.default_rng(11)
    true, probabilities = draw_answers(draws, 10)
    assert estimate_labels(probabilities, true).planted.in_first > 19
    guesses = draws.dirichlet(np.ones(10), 3000)
    assert estimate_labels(guesses, true).planted.in_first == pytest.approx(2, abs=2)


def test_labels_are_planted_in_a_tenth_of_each_class_of_each_copy_and_always_change():
    labels = np.repeat(np.arange(3, dtype=np.int32), [200, 100, 5])
    probabilities = np.full((305, 3), 1 / 3)
    planted = plant(probabilities, labels, np.random.default_rng(0))
    assert np.bincount(labels[planted.rows]).tolist() == [200, 100, 10]
    assert (planted.labels != labels[planted.rows]).all()
    assert set(planted.labels[labels[planted.rows] == 0].tolist()) == {1, 2}


# --- the process ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("forking")
def test_a_search_ends_if_networks_agree_with_no_label():
    """Images and labels are noise: after the first round no label is trusted, and nothing would be left to train on."""
    draws, names = np.random.default_rng(0), tuple(map(str, range(20)))
    pixels = draws.integers(0, 255, (200, 8, 8, 1)).astype(np.uint8)
    labels = np.concatenate([np.arange(20), draws.integers(0, 20, 200)[20:]]).astype(np.int32)
    found = find_suspects(ImageSet(pixels, labels, {}, names, (0, 255)), np.arange(200), 0)
    assert found.trained_on > 0
    assert estimate(found.probabilities, labels, {}, 0).verdict == "too_hard"


def test_a_real_search_finds_planted_labels_and_names_their_files(digits, tmp_path: Path):
    draws = np.random.default_rng(5)
    planted = draws.permutation(400)[:40]
    true, labels = digits.labels[:400], digits.labels[:400].copy()
    labels[planted] = (labels[planted] + draws.integers(1, 10, 40)) % 10
    splits = {"train": np.arange(300), "validation": np.arange(300, 340), "test": np.arange(340, 400)}
    few = replace(digits, images=digits.images[:400], labels=labels, splits=splits)
    (tmp_path / "dataset").mkdir()
    save(few, tmp_path / "dataset")
    save_relations(Relations(np.arange(400, dtype=np.int32)), tmp_path / FILE_NAME)
    (tmp_path / "members.txt").write_text("".join(f"{label}/{row}.png\n" for row, label in enumerate(labels)))
    stored = search(tmp_path)
    known = [of for of in stored.classes if of.wrong is not None]
    assert stored.images == sum(of.images for of in known) >= 350
    assert all(suspect.label in {of.label for of in known} for suspect in stored.suspects)
    first = stored.suspects[:8]
    assert sum(suspect.index in planted for suspect in first) >= 7
    assert all(suspect.member == f"{suspect.label}/{suspect.index}.png" for suspect in first)
    assert [suspect.label for suspect in first] == labels[[suspect.index for suspect in first]].tolist()
    assert sum(suspect.suggested == true[suspect.index] for suspect in first) >= 7
    assert all(suspect.index in few.splits[suspect.split] for suspect in first)
    assert stored.wrong is not None
    judged = np.isin(labels, [of.label for of in known])
    assert stored.wrong.low <= judged[planted].sum() <= stored.wrong.high


def search(folder: Path) -> StoredSuspects:
    """Fork a process as the supervisor does, and read its file."""
    dataset = AssignedDataset(folder / "dataset", relations=folder / FILE_NAME, names=folder / "members.txt")
    assignment = SuspectAssignment(dataset, folder, seed=0, threads=2)
    forking = multiprocessing.get_context("forkserver")
    pipe, theirs = forking.Pipe()
    process = forking.Process(target=child.main, args=(theirs, assignment, str(folder / "log.txt")), daemon=True)
    process.start()
    theirs.close()
    try:
        assert pipe.poll(240)
        assert isinstance(pipe.recv(), Alive)
        assert pipe.poll(300)
        found = pipe.recv()
        assert isinstance(found, ResultWritten), found.detail if isinstance(found, Failed) else found
        process.join(240)
        assert found.file.parent == folder
        return StoredSuspects.from_bytes(found.file.read_bytes())
    finally:
        process.kill()
        process.join()
        pipe.close()


def test_features_show_wrong_labels_where_small_networks_learn_nothing(tmp_path: Path):
    """The images are noise, so only features say what is on them."""
    draws = np.random.default_rng(2)
    true = (np.arange(450) % 3).astype(np.int32)
    labels = true.copy()
    planted = draws.permutation(450)[:68]
    labels[planted] = (labels[planted] + draws.integers(1, 3, 68)) % 3
    pixels = draws.integers(0, 256, (450, 8, 8, 1), dtype=np.uint8)
    splits = dict(zip(SPLITS, np.split(draws.permutation(450), (300, 375)), strict=True))
    (tmp_path / "dataset").mkdir()
    save(ImageSet(pixels, labels, splits, ("a", "b", "c"), (0, 255)), tmp_path / "dataset")
    features = (5 * np.eye(3)[true] @ draws.normal(size=(3, 40)) + draws.normal(size=(450, 40))).astype(np.float16)
    empty = np.zeros((450, 2))
    save_features(Picture(np.arange(450, dtype=np.int32), empty, empty, empty), features, tmp_path / FEATURES_FILE)
    assignment = SuspectAssignment(AssignedDataset(tmp_path / "dataset"), tmp_path, 0, 2)
    without = StoredSuspects.from_bytes(_search_images(assignment).file.read_bytes())
    found = StoredSuspects.from_bytes(
        _search_images(replace(assignment, features=tmp_path / FEATURES_FILE)).file.read_bytes()
    )
    assert (without.verdict, found.verdict) == ("too_hard", "can_tell")
    of_train = found.splits["train"]
    assert of_train.low <= np.isin(splits["train"], planted).sum() <= of_train.high
    listed = [suspect for suspect in found.suspects if suspect.probability > 0.5]
    assert len(listed) >= 45
    assert np.mean([suspect.index in planted for suspect in listed]) >= 0.9
    assert np.mean([suspect.suggested == true[suspect.index] for suspect in listed]) >= 0.9
