"""The terms of a gap, counted again from the answers to single images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from heldout.diagnosis.gap import Gap, Term, compute_gap
from heldout.stored.gap import UndoneHalf
from tests.heldout.diagnosis.made_gap import Answers, Made, answers, changed

TRAIN, VALIDATION, TEST = answers(0.99, 3000, 1), answers(0.9, 400, 2), answers(0.8, 900, 3)
CODES = (
    "late_epochs",
    "generalisation",
    "copies_in_validation",
    "split_difference",
    "label_order",
    "pixel_values",
    "copies_in_test",
)


def marked(count: int, marked: int) -> np.ndarray:
    return np.arange(count) < marked


def everything(seed: int = 0) -> Made:
    """Each term applies."""
    test = answers(0.3, 900, seed + 3, 2.0)
    copied = marked(900, 200)
    clean = np.flatnonzero(~copied)
    test.right[:200], test.loss[:200] = True, answers(1, 200, seed).loss
    return Made(
        train=TRAIN,
        validation=answers(0.8, 400, seed + 4),
        test=test,
        epochs=20,
        kept_epoch=20,
        validation_copied=marked(400, 45),
        test_copied=copied,
        best_by_accuracy=(7, answers(0.93, 400, seed + 5)),
        best_by_loss=(5, answers(0.92, 400, seed + 6, 0.3)),
        pixels=answers(0.45, len(clean), seed + 7, 1.5),
        labels=answers(0.75, len(clean), seed + 8),
    )


def gap(made: Made) -> Gap:
    found = compute_gap(made.stored())
    assert found is not None
    return found


def term(made: Made, code: str) -> Term:
    [found] = [one for one in gap(made).terms if one.code == code]
    return found


def accuracy(of: Answers) -> float:
    return float(np.mean(of.right))


FAMILY = 3  # images that tell as much as one independent image


def newcombe(one: Answers, other: Answers):
    counts = [count / FAMILY for of in (one, other) for count in (of.right.sum(), len(of.right))]
    return confint_proportions_2indep(*counts, method="newcomb", compare="diff")


def welch(one: Answers, other: Answers):
    first, second = (of.loss.var(ddof=1) / (len(of.loss) / FAMILY) for of in (one, other))
    # The degrees of freedom of Welch's test, by SciPy, of samples with a third of the images.
    samples = [(of.loss.mean(), of.loss.std(ddof=1), len(of.loss) / FAMILY) for of in (one, other)]
    test = stats.ttest_ind_from_stats(*samples[0], *samples[1], equal_var=False)
    degrees = (first + second) ** 2 / sum(v**2 / (n - 1) for v, (*_, n) in zip((first, second), samples, strict=True))
    assert test.pvalue == pytest.approx(2 * stats.t.sf(abs(test.statistic), degrees))
    half = stats.t.ppf(0.975, degrees) * np.sqrt(first + second)
    difference = one.loss.mean() - other.loss.mean()
    return difference - half, difference + half


# --- they add up --------------------------------------------------------------------------------------


def assert_adds_up(made: Made) -> None:
    found = gap(made)
    assert made.test is not None
    assert sum(one.accuracy for one in found.terms) == pytest.approx(
        accuracy(made.train) - accuracy(made.test), abs=1e-12
    )
    assert sum(one.loss for one in found.terms) == pytest.approx(
        made.test.loss.mean() - made.train.loss.mean(), abs=1e-9
    )
    exactly = found.test.loss - found.train.loss
    assert sum(one.loss for one in found.terms) == pytest.approx(exactly, abs=1e-12)
    assert [one.code for one in found.terms] == [code for code in CODES if found.find_term(code) is not None]
    for one in found.terms:
        for bounds in (one.accuracy_interval, one.loss_interval):
            assert bounds is None or bounds[0] <= bounds[1]


def test_all_terms_add_up_in_the_order_of_the_contract():
    made = everything()
    assert_adds_up(made)
    assert tuple(one.code for one in gap(made).terms) == CODES


SOMETIMES = st.booleans()


@settings(max_examples=60)
@given(st.integers(0, 10_000), SOMETIMES, SOMETIMES, SOMETIMES, SOMETIMES, SOMETIMES, st.integers(1, 20))
def test_terms_add_up_whichever_apply(seed, late, copies, all_copied, pixels, labels, kept):
    made = replace(everything(seed), kept_epoch=kept)
    if not late:
        made = replace(made, best_by_accuracy=None, best_by_loss=None)
    if not copies:
        made = replace(made, test_copied=None, validation_copied=None, pixels=None, labels=None)
    elif all_copied:
        made = replace(made, validation_copied=marked(400, 400))
    if not pixels:
        made = replace(made, pixels=None)
    if not labels:
        made = replace(made, labels=None)
    assert_adds_up(made)


def test_a_gap_without_test_figures_is_none():
    assert compute_gap(replace(everything(), test=None, pixels=None, labels=None).stored()) is None
    assert compute_gap(everything().stored().drop_test()) is None


# --- each term ----------------------------------------------------------------------------------------


def test_later_epochs_cost_what_the_best_epoch_answered_better():
    made = everything()
    assert made.best_by_accuracy is not None
    assert made.best_by_loss is not None
    found = term(made, "late_epochs")
    assert found.accuracy == pytest.approx(accuracy(made.best_by_accuracy[1]) - accuracy(made.validation))
    assert found.loss == pytest.approx(made.validation.loss.mean() - made.best_by_loss[1].loss.mean())
    confidence = 1 - 0.05 / made.epochs  # the best of these epochs looks better than it is
    paired = stats.ttest_rel(made.validation.loss, made.best_by_loss[1].loss).confidence_interval(confidence)
    assert found.loss_interval == pytest.approx((paired.low, paired.high))


def test_late_epochs_are_absent_where_the_best_epoch_was_kept_or_comes_later():
    assert gap(replace(everything(), best_by_accuracy=None, best_by_loss=None)).find_term("late_epochs") is None
    assert gap(replace(everything(), kept_epoch=5)).find_term("late_epochs") is None
    # The best epoch by accuracy is 7, which is later; by loss it is 5, which is not.
    found = term(replace(everything(), kept_epoch=6), "late_epochs")
    assert (found.accuracy, found.accuracy_interval) == (0, (0, 0))
    assert found.loss > 0


def one_better(images: int, epochs: int) -> Term:
    """An epoch that was right about `images` more of 400 and wrong about none, the best of this many epochs."""
    kept = answers(0.8, 400, 2)
    better = Answers(kept.right.copy(), kept.loss.copy())
    better.right[np.flatnonzero(~kept.right)[:images]] = True
    made = Made(TRAIN, kept, TEST, epochs=epochs, kept_epoch=epochs, best_by_accuracy=(1, better))
    return term(made, "late_epochs")


def test_the_best_of_many_epochs_must_be_better_than_the_best_of_two():
    """Six images more: McNemar's p is 0.014 without a correction for continuity."""
    assert stats.chi2.sf(6, 1) == pytest.approx(0.0143, abs=1e-4)
    assert one_better(6, epochs=2).accuracy == pytest.approx(6 / 400)
    unsure = one_better(6, epochs=50)
    assert unsure.accuracy == 0
    assert unsure.accuracy_interval is not None
    assert unsure.accuracy_interval[0] < 0 < unsure.accuracy_interval[1]
    assert one_better(20, epochs=50).accuracy == pytest.approx(20 / 400)


def test_generalisation_is_the_rest_between_training_and_validation():
    plain = Made(TRAIN, VALIDATION, TEST)
    found = term(plain, "generalisation")
    assert found.accuracy == pytest.approx(accuracy(TRAIN) - accuracy(VALIDATION))
    assert found.accuracy_interval == pytest.approx(newcombe(TRAIN, VALIDATION), abs=1e-9)
    assert found.loss_interval == pytest.approx(welch(VALIDATION, TRAIN))
    made = everything()
    late = term(made, "generalisation")
    assert made.best_by_accuracy is not None
    assert made.best_by_loss is not None
    assert late.accuracy_interval == pytest.approx(newcombe(TRAIN, made.best_by_accuracy[1]), abs=1e-9)
    assert late.loss_interval == pytest.approx(welch(made.best_by_loss[1], TRAIN))


def test_copies_lift_a_split_by_their_share_times_how_much_better_they_are_answered():
    made = everything()
    assert made.test is not None
    assert made.test_copied is not None
    copied, clean = made.test[made.test_copied], made.test[~made.test_copied]
    found, share = term(made, "copies_in_test"), 200 / 900
    assert found.accuracy == pytest.approx(-share * (accuracy(copied) - accuracy(clean)))
    low, high = newcombe(copied, clean)
    assert found.accuracy_interval == pytest.approx((-share * high, -share * low), abs=1e-9)
    assert found.loss == pytest.approx(share * (copied.loss.mean() - clean.loss.mean()))
    low, high = welch(copied, clean)
    assert found.loss_interval == pytest.approx((share * low, share * high))
    # In validation they lift what test is compared with, and the sign is the other one.
    validation = replace(made, validation=made.test, validation_copied=made.test_copied, best_by_accuracy=None)
    lifted = term(replace(validation, best_by_loss=None), "copies_in_validation")
    assert lifted.accuracy == pytest.approx(-found.accuracy)
    assert lifted.accuracy_interval == pytest.approx(
        (share * newcombe(copied, clean)[0], share * newcombe(copied, clean)[1])
    )
    assert lifted.loss == pytest.approx(-found.loss)


@pytest.mark.parametrize("copied", [None, marked(400, 0), marked(400, 400)], ids=["unknown", "none", "all"])
def test_copies_have_no_term_where_there_is_nothing_to_compare(copied):
    found = gap(Made(TRAIN, VALIDATION, TEST, validation_copied=copied))
    assert [one.code for one in found.terms] == ["generalisation", "split_difference"]
    whole = found.find_term("split_difference")
    assert whole is not None
    assert whole.accuracy_interval == pytest.approx(newcombe(VALIDATION, TEST), abs=1e-9)


def test_the_split_difference_is_without_copies_and_with_pixels_and_labels_undone():
    made = everything()
    assert made.validation_copied is not None
    assert made.labels is not None
    clean = made.validation[~made.validation_copied]
    found = term(made, "split_difference")
    assert found.accuracy == pytest.approx(accuracy(clean) - accuracy(made.labels))
    assert found.accuracy_interval == pytest.approx(newcombe(clean, made.labels), abs=1e-9)
    assert found.loss_interval == pytest.approx(welch(made.labels, clean))


def test_what_is_undone_is_compared_on_the_same_images():
    made = everything()
    assert made.labels is not None
    assert made.pixels is not None
    for code, undone, before in (
        ("label_order", made.labels, made.pixels),
        ("pixel_values", made.pixels, made.clean_test()),
    ):
        found = term(made, code)
        assert found.accuracy == pytest.approx(accuracy(undone) - accuracy(before))
        assert found.loss == pytest.approx(before.loss.mean() - undone.loss.mean())
        paired = stats.ttest_rel(before.loss, undone.loss).confidence_interval(0.95)
        assert found.loss_interval == pytest.approx((paired.low, paired.high))
        assert found.accuracy_interval is not None
        assert found.accuracy_interval[0] < found.accuracy < found.accuracy_interval[1]


def halved(made: Made, *, choices: tuple[str, str]) -> Gap:
    """The gap of a test whose halves, the even and the odd images, chose so."""
    stored, before, after = made.stored(), made.clean_test(), made.pixels
    assert stored.pixels is not None
    assert after is not None
    one, two = (
        UndoneHalf(tally=after[part].tally(), change=changed(before[part], after[part]))
        for part in (slice(0, None, 2), slice(1, None, 2))
    )
    pixels = stored.pixels.model_copy(update={"choices": choices, "halves": (one, two)})
    found = compute_gap(stored.model_copy(update={"pixels": pixels}))
    assert found is not None
    return found


def half_undone() -> Made:
    """The pixels of the even images alone are brought back."""
    test = answers(0.5, 600, 3)
    undone = Answers(test.right.copy(), test.loss.copy())
    better = answers(0.9, 300, 4)
    undone.right[::2], undone.loss[::2] = better.right, better.loss
    return Made(TRAIN, VALIDATION, test, pixels=undone)


def test_where_the_halves_of_test_disagree_the_intervals_hold_what_either_says():
    made = half_undone()
    assert made.pixels is not None
    assert made.test is not None
    found = halved(made, choices=("brightness", "none"))
    pixels, rest = found.find_term("pixel_values"), found.find_term("split_difference")
    assert pixels is not None
    assert rest is not None
    for part in (slice(0, None, 2), slice(1, None, 2)):
        before, after = made.test[part], made.pixels[part]
        for term, accuracy_of_half, loss_of_half in (
            (pixels, accuracy(after) - accuracy(before), before.loss.mean() - after.loss.mean()),
            (rest, accuracy(VALIDATION) - accuracy(after), after.loss.mean() - VALIDATION.loss.mean()),
        ):
            assert term.accuracy_interval is not None
            assert term.loss_interval is not None
            assert term.accuracy_interval[0] <= accuracy_of_half <= term.accuracy_interval[1]
            assert term.loss_interval[0] <= loss_of_half <= term.loss_interval[1]
    assert found.accuracy == pytest.approx(sum(term.accuracy for term in found.terms))
    assert found.loss == pytest.approx(sum(term.loss for term in found.terms))


def test_halves_that_agree_and_files_without_halves_have_the_intervals_of_all_images():
    made = half_undone()
    as_whole = compute_gap(made.stored())
    assert halved(made, choices=("brightness", "brightness")) == as_whole
    assert halved(made, choices=("brightness", "none")) != as_whole


def test_a_single_copy_has_an_interval_of_accuracy_and_none_of_loss():
    found = term(Made(TRAIN, VALIDATION, TEST, validation_copied=marked(400, 1)), "copies_in_validation")
    assert found.accuracy_interval is not None
    assert found.loss_interval is None


# --- how often the intervals hold the truth -----------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "family"), [("copies_in_test", FAMILY), ("split_difference", FAMILY), ("pixel_values", 1)]
)
def test_intervals_of_measuring_faults_hold_the_truth_as_often_as_they_say(code, family):
    """Simulated images: copies are right at 0.99, others at 0.8, and at 0.6 with changed pixels.

    Images of a family are answered alike, which does not matter where the same images are compared.
    """
    draw, held = np.random.default_rng(7), 0
    copied = marked(600, 150)
    truth = {"copies_in_test": -0.25 * (0.99 - 0.6), "split_difference": 0.85 - 0.8, "pixel_values": 0.2}[code]
    for _ in range(600):
        chance = np.repeat(draw.random(600 // family), family)
        nothing = np.zeros(600)
        validation = Answers(np.repeat(draw.random(399 // family), family) < 0.85, nothing[:399])
        test = Answers(chance < np.where(copied, 0.99, 0.6), nothing)
        undone = Answers(chance[~copied] < 0.8, nothing[:450])
        made = Made(TRAIN, validation, test, test_copied=copied, pixels=undone)
        bounds = term(made, code).accuracy_interval
        assert bounds is not None
        held += bounds[0] <= truth <= bounds[1]
    assert 0.925 <= held / 600 <= 0.98


def test_a_term_may_be_chance_only_if_neither_accuracy_nor_loss_is_surely_there():
    def may_be_chance(accuracy: tuple[float, float] | None, loss: tuple[float, float] | None) -> bool:
        return Term("generalisation", 0.01, accuracy, 0.1, loss).may_be_chance

    assert may_be_chance((-0.01, 0.03), (-0.1, 0.3))
    assert may_be_chance(None, None)
    assert not may_be_chance((-0.01, 0.03), (0.05, 0.15))
    assert not may_be_chance((0.005, 0.015), (-0.1, 0.3))
