"""Labels that are partly in another order, with simulated answers, and cases that only look like it."""

from dataclasses import replace

import numpy as np
import pytest

from heldout.diagnosis import Diagnosis, diagnose
from heldout.diagnosis.renamed_part import find_renamed_part, measure_part
from heldout.diagnosis.renaming import compute_chance_of_renaming, list_usual_renamings, measure_distance
from tests.heldout.diagnosis.made import FINE, spec
from tests.heldout.diagnosis.made_gap import Answers, Made, answers

CLASSES = 10
NEXT = [*range(1, CLASSES), 0]


def simulate_answers(count: int, right: float, seed: int, renamed: float = 0.0, confused: float = 0.0) -> np.ndarray:
    """Count simulated answers as (CLASSES, CLASSES), with a row for each label.

    renamed: the share of images that have the label of the previous class. confused: the share of images of the
    first two classes that are answered as the next class, although nothing is renamed.
    """
    random = np.random.default_rng(seed)
    truth = random.integers(0, CLASSES, count)
    answer = np.where(random.random(count) < right, truth, random.integers(0, CLASSES, count))
    answer = np.where((truth < 2) & (random.random(count) < confused), (truth + 1) % CLASSES, answer)
    label = np.where(random.random(count) < renamed, (truth - 1) % CLASSES, truth)
    found = np.zeros((CLASSES, CLASSES), int)
    np.add.at(found, (label, answer), 1)
    return found


def diagnosed(test: np.ndarray, validation: np.ndarray, classes: tuple[str, ...] = ()) -> Diagnosis:
    shares = [float(np.trace(rows) / rows.sum()) for rows in (validation, test)]
    counts = [int(rows.sum()) for rows in (validation, test)]
    made = Made(answers(0.95, 2000), answers(shares[0], counts[0], 1), answers(shares[1], counts[1], 2))
    evaluation = made.evaluation()
    splits = dict(evaluation.splits)
    for split, rows in (("validation", validation), ("test", test)):
        splits[split] = replace(splits[split], confusion=tuple(map(tuple, rows.tolist())))
    evaluation = replace(evaluation, splits=splits, classes=classes or evaluation.classes)
    return diagnose(FINE, None, evaluation, spec())


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_partly_changed_label_order_is_found_with_its_cost(share):
    found = diagnosed(simulate_answers(600, 0.6, 1, renamed=share), simulate_answers(400, 0.6, 2))
    assert found.verdict == "label_order_mismatch"
    cause = found.causes[0]
    assert cause.tier == "figures_not_true"
    assert cause.points == pytest.approx(share * 0.6, abs=0.05)  # correct answers that count as wrong
    low, high = cause.interval
    assert low < share * 0.6 < high
    part = found.findings[0].evidence["share"]
    assert part == pytest.approx(share, abs=0.08)
    assert found.headline == f"About {100 * part:.0f}% of the test labels are in another order."
    assert all(remedy.fix is None for remedy in found.findings[0].remedies)  # it is unknown which labels are wrong
    assert "split_shift" not in {finding.code for finding in found.findings}  # this is the same difference
    assert "a different test set (labels in another order)" in found.explanation


def test_a_partly_changed_order_is_found_in_a_test_that_is_easier_than_validation():
    """Its other images make up for most of the correct answers that the wrong labels take away."""
    found = diagnosed(simulate_answers(600, 0.76, 1, renamed=0.25), simulate_answers(400, 0.6, 2))
    assert found.verdict == "label_order_mismatch"


def test_a_partly_changed_order_in_validation_is_found_by_comparison_with_test():
    found = diagnosed(simulate_answers(600, 0.6, 1), simulate_answers(400, 0.6, 2, renamed=0.5))
    assert found.verdict == "label_order_mismatch"
    assert found.findings[0].evidence["split"] == "validation"
    assert "of the validation labels" in found.headline


def test_a_harder_test_set_is_not_called_renamed():
    for seed in range(20):
        found = diagnosed(simulate_answers(600, 0.4, 100 + seed), simulate_answers(400, 0.6, 200 + seed))
        assert "label_order_mismatch" not in {finding.code for finding in found.findings}, seed


def test_two_confused_classes_are_not_called_renamed():
    """They are answered as in a renaming, but most classes are not."""
    for seed in range(20):
        found = diagnosed(simulate_answers(600, 0.6, 300 + seed, confused=0.8), simulate_answers(400, 0.6, 400 + seed))
        assert "label_order_mismatch" not in {finding.code for finding in found.findings}, seed


def test_the_measured_share_is_the_simulated_share():
    split, other = simulate_answers(20_000, 0.7, 1, renamed=0.3).tolist(), simulate_answers(20_000, 0.7, 2).tolist()
    part = find_renamed_part(split, other, list_usual_renamings([f"class {label}" for label in range(CLASSES)]))
    assert part is not None
    assert part.renaming == NEXT
    assert part.share == pytest.approx(0.3, abs=0.01)


def test_a_network_that_knows_nothing_gives_no_evidence():
    guessed = simulate_answers(400, 0.0, 2)
    assert "label_order_mismatch" not in {
        finding.code for finding in diagnosed(simulate_answers(600, 0.0, 1), guessed).findings
    }
    assert measure_part(guessed.tolist(), np.zeros((CLASSES, CLASSES), int).tolist(), NEXT) is None


def test_class_frequencies_reveal_a_renaming_of_unbalanced_classes():
    uneven = [[count if label == answer else 0 for answer in range(4)] for label, count in enumerate((80, 40, 20, 10))]
    moved = [uneven[label] for label in (3, 0, 1, 2)]  # the first class has the second's name
    assert measure_distance(moved, uneven, [3, 0, 1, 2]) == 0
    assert measure_distance(moved, uneven) == pytest.approx((70 + 40 + 20 + 10) / 150 / 2)
    assert measure_distance(uneven, uneven) == 0


def test_a_renamed_frequent_class_is_found_with_the_help_of_its_frequency():
    """The network mostly predicts the frequent class, so by the answers alone a rotation could be chance."""
    sizes = np.array([300, 150, 60, 30, 20, 15, 10, 5, 5, 5])
    random = np.random.default_rng(0)

    def drawn(seed: int, moved: int) -> np.ndarray:
        rows = np.zeros((CLASSES, CLASSES), int)
        for label, size in enumerate(sizes):
            shares = np.where(np.arange(CLASSES) == 0, 0.8, 0.2 / (CLASSES - 1))
            rows[(label + moved) % CLASSES] = random.multinomial(size, shares)
        return rows

    found = diagnosed(drawn(1, 1), drawn(2, 0))
    assert found.verdict == "label_order_mismatch"
    assert "label_order_mismatch" not in {finding.code for finding in diagnosed(drawn(3, 0), drawn(4, 0)).findings}


def answer_by_class(answered: list[int], count: int = 100, wrong: int = 1) -> np.ndarray:
    """(classes, classes) answers: those to each label are as `answered` says, but `wrong` tenths are any class."""
    found = np.full((len(answered), len(answered)), wrong * count // 10 // len(answered))
    found[np.arange(len(answered)), answered] += (10 - wrong) * count // 10
    return found


def test_one_object_of_a_class_that_is_taken_for_another_is_at_most_a_possible_renaming():
    """Each class may have one object in test. Then three of four answers that fit a rotation are three coincidences."""
    found = diagnosed(answer_by_class([1, 2, 3, 3]), answer_by_class([0, 1, 2, 3]), ("a", "b", "c", "d"))
    [order] = [finding for finding in found.findings if finding.code == "label_order_mismatch"]
    assert (order.severity, order.fix) == ("warning", None)
    assert order.evidence["chance_of_renaming"] > 0.05
    assert "may be in another order" in order.explanation
    assert found.verdict == "split_shift"
    assert [cause.code for cause in found.causes[:2]] == ["split_shift", "label_order_mismatch"]
    harder = diagnosed(answer_by_class([1, 2, 3, 3]), answer_by_class([0, 1, 2, 3], wrong=2), ("a", "b", "c", "d"))
    assert [cause.code for cause in harder.causes[:3]] == ["split_shift", "label_order_mismatch", "too_little_data"]
    surely = diagnosed(answer_by_class(NEXT), answer_by_class([*range(CLASSES)]))
    assert (surely.verdict, surely.findings[0].severity) == ("label_order_mismatch", "critical")
    assert "chance_of_renaming" not in surely.findings[0].evidence


def test_the_chance_of_a_renaming_counts_classes_and_not_images():
    rotated = [1, 2, 3, 4, 0]
    few, many = (answer_by_class(rotated, count).tolist() for count in (100, 10_000))
    # One of the 120 orders of five classes is as good, and two renamings were tried.
    assert compute_chance_of_renaming(few, [rotated, [4, 0, 1, 2, 3]]) == pytest.approx(2 / 120)
    assert compute_chance_of_renaming(many, [rotated, [4, 0, 1, 2, 3]]) == pytest.approx(2 / 120)
    random = np.random.default_rng(0)
    by_chance = [
        compute_chance_of_renaming(answer_by_class(random.permutation(7).tolist()).tolist(), [[1, 2, 3, 4, 5, 6, 0]])
        for _ in range(60)
    ]
    assert np.mean(np.array(by_chance) <= 0.05) <= 0.1


def test_the_alphabetical_order_of_number_words_is_a_common_renaming():
    eight_first = [8, 5, 4, 9, 1, 7, 6, 3, 2, 0]
    assert eight_first in list_usual_renamings(list(map(str, range(10))))
    assert eight_first not in list_usual_renamings([f"class {label}" for label in range(10)])


@pytest.mark.parametrize(("images", "is_found"), [(12_000, True), (200, False)])
def test_a_network_that_knows_little_needs_many_images_to_show_a_partial_renaming(images, is_found):
    found = diagnosed(simulate_answers(images, 0.15, 1, renamed=0.5), simulate_answers(images, 0.15, 2))
    assert ("label_order_mismatch" in {finding.code for finding in found.findings}) is is_found


def test_few_images_show_a_partial_renaming_of_many_classes_that_the_network_knows():
    found = diagnosed(simulate_answers(50, 0.8, 1, renamed=0.5), simulate_answers(400, 0.8, 2))
    assert found.verdict == "label_order_mismatch"


def test_a_split_that_is_answered_worse_needs_less_proof_of_a_partial_renaming(monkeypatch):
    def count_found() -> int:
        pairs = ((simulate_answers(80, 0.6, seed, 0.25), simulate_answers(400, 0.6, 100 + seed)) for seed in range(12))
        return sum(find_renamed_part(split.tolist(), other.tolist(), [NEXT]) is not None for split, other in pairs)

    found = count_found()
    monkeypatch.setattr("heldout.diagnosis.thresholds.MIN_DEFICIT_SIGMAS", 99.0)  # now no split counts as worse
    assert count_found() < found


def test_other_mistakes_are_not_a_renaming_if_as_many_answers_are_correct():
    """More mistakes name the next class, but test is as accurate as validation."""
    test, validation = (np.full((CLASSES, CLASSES), rest) for rest in (45, 67))
    for label in range(CLASSES):
        test[label, label], test[label, NEXT[label]], validation[label, label] = 400, 240, 400
    assert find_renamed_part(test.tolist(), validation.tolist(), [NEXT]) is None
    for label in range(CLASSES):
        test[label, label] = 300  # now fewer are correct, as in a renaming
    assert find_renamed_part(test.tolist(), validation.tolist(), [NEXT]) is not None


@pytest.mark.parametrize(("known", "is_found"), [(9, False), (14, True)])
def test_a_renaming_gains_by_chance_if_it_gains_more_than_twice_what_is_missing(known, is_found):
    """7 of 100 test images are right, and 21 with the classes renamed, where the network knows hardly any image."""
    test, validation = np.full((CLASSES, CLASSES), 9), np.full((CLASSES, CLASSES), 0)
    for label in range(CLASSES):
        test[label, label], test[label, NEXT[label]] = 7, 21
        validation[label] = [(100 - known) // 9] * CLASSES
        validation[label, label] = known
    found = {finding.code for finding in diagnosed(test, validation).findings}
    assert ("label_order_mismatch" in found) is is_found


def test_two_classes_cannot_be_partly_in_another_order():
    test, validation = np.array([[70, 30], [30, 70]]), np.array([[95, 5], [5, 95]])
    assert measure_part(test.tolist(), validation.tolist(), [1, 0]) is not None
    assert "label_order_mismatch" not in {finding.code for finding in diagnosed(test, validation, ("a", "b")).findings}


def test_a_difference_that_remains_after_renaming_is_a_split_shift():
    validation, test = simulate_answers(400, 0.9, 2), np.roll(simulate_answers(600, 0.6, 1), 1, axis=0)
    rows = {"validation": validation, "test": test}
    made = Made(answers(0.95, 2000), answers(0.9, 400, 1), answers(0.05, 600, 2), labels=answers(0.6, 600, 3))
    evaluation = made.evaluation()
    splits = dict(evaluation.splits)
    for split, counts in rows.items():
        splits[split] = replace(splits[split], confusion=tuple(map(tuple, counts.tolist())))
    found = diagnose(FINE, None, replace(evaluation, splits=splits), spec())
    assert [cause.code for cause in found.causes][:2] == ["label_order_mismatch", "split_shift"]


@pytest.mark.parametrize(("test", "renamed", "is_found"), [(0.20, 0.27, False), (0.20, 0.42, True), (0.35, 0.42, True)])
def test_a_renaming_that_gains_little_of_what_is_missing_is_chance(test, renamed, is_found):
    right = np.random.default_rng(7).random(3000)
    before, after = (Answers(right < share, np.where(right < share, 0.5, 3.0)) for share in (test, renamed))
    made = Made(answers(0.95, 2000), answers(0.45, 400, 1), before, labels=after)
    found = {finding.code for finding in diagnose(FINE, None, made.evaluation(), spec()).findings}
    assert ("label_order_mismatch" in found) is is_found
