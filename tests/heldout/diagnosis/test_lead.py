"""The first sentences of a diagnosis: their figures add up and come from the terms."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from heldout.diagnosis import Diagnosis, diagnose
from heldout.diagnosis.bounds import bound_difference
from heldout.documents.diagnosis import build_diagnosis
from heldout.statistics import includes_0
from heldout.stored.gap import PixelsUndone, StoredGap
from heldout.views.diagnosis import DiagnosisView
from heldout.words.terms import apportion
from tests.heldout.diagnosis.made import FINE, OVERFIT, falling, history, spec
from tests.heldout.diagnosis.made_gap import Answers, Made, answers


def judged(made: Made, training=FINE, stored: StoredGap | None = None) -> Diagnosis:
    evaluation = made.evaluation()
    return diagnose(training, None, evaluation if stored is None else replace(evaluation, gap=stored), spec())


def lead(made: Made, training=FINE) -> str:
    """Return the explanation without the text of the finding."""
    found = judged(made, training)
    own = [finding.explanation for finding in found.findings if found.explanation.endswith(finding.explanation)]
    return found.explanation.removesuffix(own[0] if own else "").strip()


def judge_brightness(made: Made, **numbers: float) -> Diagnosis:
    stored = made.stored()
    pixels = PixelsUndone(**{**vars(stored.pixels), "parameters": (numbers, numbers)})
    return judged(made, OVERFIT, stored.model_copy(update={"pixels": pixels}))


BRIGHTER = Made(answers(0.99, 3340), answers(0.5, 2000, 1), answers(0.42, 2000, 2), pixels=answers(0.5, 2000, 3))


def test_the_budget_comes_first_and_its_parts_add_up():
    assert lead(BRIGHTER, OVERFIT) == (
        "Test accuracy (42.0%) is 57 points below training accuracy (99.0%): 49 from the gap to new images (memorized "
        "training images) and 8 from other pixel values (another brightness or contrast)."
    )


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"factor": 0.6}, "brighter"),
        ({"offset": -40.0}, "brighter"),
        ({"factor": 1.7}, "darker"),
        ({"offset": 30.0}, "darker"),
        ({"factor": 2.0, "offset": -90.0}, "another brightness or contrast"),
    ],
)
def test_a_test_set_is_called_brighter_if_the_correction_makes_it_darker(numbers, words):
    assert f"8 from other pixel values ({words})." in judge_brightness(BRIGHTER, **numbers).explanation
    # Compute the same from the effect on pixels.
    factor, offset = numbers.get("factor", 1.0), numbers.get("offset", 0.0)
    change = factor * np.arange(256) + offset - np.arange(256)
    assert ("brighter" in words) == bool((change <= 0).all())
    assert ("darker" in words) == bool((change >= 0).all())


def test_a_small_gap_has_one_decimal_and_a_narrowing_part_has_a_minus():
    made = Made(answers(1.0, 9000), answers(0.89, 400, 1), answers(0.911, 1000, 2))
    assert lead(made, OVERFIT) == (
        "Test accuracy (91.1%) is 8.9 points below training accuracy (100.0%): 11.0 from the gap to new images "
        "(memorized training images) and −2.1 that may be chance."
    )


def test_a_part_that_hides_some_of_the_gap_is_named_with_its_size():
    copied = np.arange(1000) < 300
    test = answers(0.86, 1000, 2)
    others = answers(0.8, 700, 3)
    test.right[:300], test.right[300:] = True, others.right
    made = Made(answers(1.0, 9000), answers(0.8, 9000, 1), test, test_copied=copied)
    assert lead(made, OVERFIT).endswith(
        "is 14 points below training accuracy (100.0%): 20 from the gap to new images (memorized training images) and "
        "−6 from copies in test."
    )
    easier = Made(answers(0.9, 9000), answers(0.85, 9000, 1), answers(0.93, 9000, 2))
    assert lead(easier).startswith(
        "Test accuracy (93.0%) is 3.0 points above training accuracy (90.0%): 8.0 from a different test set and −5.0 "
        "from the gap to new images (too few training images)."
    )


@pytest.mark.parametrize(
    ("train", "test", "start"),
    [
        (0.9, 0.9, "Training and test accuracy are the same (90.0%)."),
        (0.9, 0.895, "Training accuracy is 90.0% and test accuracy 89.5%: the difference is small enough to be"),
        (0.895, 0.9, "Training accuracy is 89.5% and test accuracy 90.0%: the difference is small enough to be"),
    ],
)
def test_a_gap_that_may_be_chance_is_called_so(train, test, start):
    made = Made(answers(train, 1000), answers((train + test) / 2, 1000, 1), answers(test, 1000, 2))
    assert judged(made).explanation.startswith(start)


def test_a_gap_that_single_images_prove_is_not_called_small():
    """For single images p < 0.001, by scipy's exact test. But splits that are so far apart come in families."""
    made = Made(answers(0.97, 1000), answers(0.965, 400, 1), answers(0.925, 600, 2))
    assert fisher_exact([[970, 30], [555, 45]]).pvalue < 0.001
    assert judged(made).explanation.startswith(
        "Training accuracy is 97.0% and test accuracy 92.5%: 4.5 points. That is certain if these images are "
        "independent; if they come in groups of "
    )
    view = DiagnosisView.of(judged(made), dataset_id="ds_1")
    size = view.gap.family_of_chance
    assert includes_0(bound_difference(made.stored().train, made.stored().test, size))
    assert not includes_0(bound_difference(made.stored().train, made.stored().test, size - 1))
    actions = [block for block in build_diagnosis(view, dataset="ds_1") if block.kind == "action"]
    assert [action.label for action in actions] == ["Say what belongs together"]


@pytest.mark.parametrize(
    ("train", "test", "validation", "after"),
    [
        (0.88, 0.85, falling(40, 0.1), "It was still improving, so train longer to see whether more is to be gained."),
        (1.0, 0.99, falling(40, 0.1), "Nothing needs fixing"),
        (0.88, 0.87, [*falling(39, 0.1), 0.103], "Nothing needs fixing"),
        (0.999, 0.97, [*falling(39, 0.1), 0.103], "A study can measure what narrows the gap that is left."),
    ],
)
def test_no_fault_means_that_nothing_needs_fixing_only_if_nothing_is_left_to_try(train, test, validation, after):
    made = Made(answers(train, 1000), answers(test, 1000, 1), answers(test, 1000, 2))
    found = judged(made, history(falling(40, 0.05), validation))
    is_last_best = "still improving" in after
    headline = "Its best epoch was its last one." if is_last_best else "No fault was found."
    assert (found.verdict, found.headline) == ("healthy", headline)
    assert after in found.summary


def test_the_loss_is_reported_if_it_gives_the_verdict():
    late = answers(0.95, 2000, 1, loss=8.0)
    made = Made(answers(0.95, 3000), late, answers(0.95, 2000, 2, loss=8.0), best_by_loss=(5, answers(0.95, 2000, 1)))
    found = judged(made, OVERFIT)
    assert found.verdict == "overfitting"
    train, test = found.gap.train.loss, found.gap.test.loss
    shown = re.search(
        rf"But the loss is {NUMBER} on training images and {NUMBER} on test images: {NUMBER} from training too long",
        found.explanation,
    )
    late = found.gap.find_term("late_epochs")
    assert [float(group) for group in shown.groups()] == pytest.approx([train, test, late.loss], rel=0.05)
    assert "training too long (the best epoch by loss was 5)" in found.explanation


# --- figures ------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-60, 60), min_size=1, max_size=7))
def test_rounded_parts_add_up(parts):
    whole = round(sum(parts))
    found = apportion(parts, whole)
    assert sum(found) == whole
    assert all(abs(rounded - part) <= 1 for rounded, part in zip(found, parts, strict=True))


NUMBER = r"(\d+(?:\.\d+)?)"


@settings(max_examples=50)
@given(st.integers(0, 10_000), *(st.floats(0.02, 0.98) for _ in range(4)))
def test_the_printed_parts_add_up_to_the_printed_gap(seed, heldout, tested, undone, copies):
    draw = np.random.default_rng(seed)
    copied = np.arange(400) < 80
    test = answers(tested, 400, seed)
    test.right[:80] = draw.random(80) < copies
    made = Made(
        answers(0.98, 900, seed), answers(heldout, 400, seed + 1), test, test_copied=copied,
        pixels=answers(undone, 320, seed + 2),
    )  # fmt: skip
    explanation = judged(made, OVERFIT).explanation
    shown = re.search(rf"is (?:{NUMBER} points (?:below|above)|equal to) .*?%\): (.*?)\. ", explanation)
    if shown is not None:
        parts = re.findall(rf"(−?){NUMBER} (?:from|that may)", shown[2])
        total = sum(-float(size) if minus else float(size) for minus, size in parts)
        assert total == pytest.approx(float(shown[1] or 0))


def test_each_term_states_the_figures_between_which_it_lies():
    copied = np.arange(400) < 45
    made = Made(
        answers(0.99, 3000), answers(0.8, 400, 1), answers(0.4, 400, 2), validation_copied=copied, test_copied=copied,
        best_by_accuracy=(3, answers(0.9, 400, 4)), best_by_loss=(2, answers(0.9, 400, 5)),
        pixels=answers(0.5, 355, 6), labels=answers(0.7, 355, 7),
    )  # fmt: skip
    found = judged(made).gap

    def shown(of: Answers) -> str:
        return f"{100 * np.mean(of.right):.1f}%"

    clean = made.validation[~copied]
    figures = {
        "late_epochs": ["90.0%", "80.0%", "epoch 2", "Epoch 3"],
        "generalisation": ["99.0%", "90.0%", "in epoch 3"],
        "copies_in_validation": ["45 of 400 validation images have", shown(made.validation[copied]), shown(clean)],
        "split_difference": [shown(clean), shown(made.labels), "copies, pixel values and the order of labels"],
        "label_order": [shown(made.pixels), shown(made.labels)],
        "pixel_values": [shown(made.clean_test()), shown(made.pixels)],
        "copies_in_test": ["45 of 400 test images have", shown(made.clean_test())],
    }
    assert [term.code for term in found.terms] == list(figures)
    for term in found.terms:
        for words in figures[term.code]:
            assert words in term.explanation, term.explanation


def test_a_single_copy_is_reported_in_the_singular():
    made = Made(answers(0.99, 3000), answers(0.8, 400, 1), answers(0.8, 400, 2), validation_copied=np.arange(400) < 1)
    found = judged(made).gap
    assert "1 of 400 validation images has a copy" in found.terms[1].explanation
