"""The terms of a gap, recomputed from the answers to single images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from heldout.diagnosis.gap import Gap, Term, compute_gap
from heldout.statistics import includes_0
from heldout.stored.gap import StoredGap, UndoneHalf
from heldout.words.terms import describe_budget
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


def make_every_term(seed: int = 0) -> Made:
    """Make a gap in which every term applies."""
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
    return compute_gap(made.stored())


def term(made: Made, code: str) -> Term:
    [found] = [term for term in gap(made).terms if term.code == code]
    return found


def accuracy(of: Answers) -> float:
    return float(np.mean(of.right))


FAMILY = 5  # related images that give as much information as one independent image


def newcombe(first: Answers, second: Answers):
    counts = [count / FAMILY for of in (first, second) for count in (of.right.sum(), len(of.right))]
    return confint_proportions_2indep(*counts, method="newcomb", compare="diff")


def welch(worse: Answers, better: Answers, family: float = FAMILY):
    first, second = (of.loss.var(ddof=1) / (len(of.loss) / family) for of in (worse, better))
    # The degrees of freedom of Welch's test, by SciPy, of samples with fewer images.
    samples = [(of.loss.mean(), of.loss.std(ddof=1), len(of.loss) / family) for of in (worse, better)]
    test = stats.ttest_ind_from_stats(*samples[0], *samples[1], equal_var=False)
    degrees = (first + second) ** 2 / sum(v**2 / (n - 1) for v, (*_, n) in zip((first, second), samples, strict=True))
    assert test.pvalue == pytest.approx(2 * stats.t.sf(abs(test.statistic), degrees))
    half = stats.t.ppf(0.975, degrees) * np.sqrt(first + second)
    difference = worse.loss.mean() - better.loss.mean()
    return difference - half, difference + half


# --- they add up --------------------------------------------------------------------------------------


def assert_adds_up(made: Made) -> None:
    found = gap(made)
    assert sum(term.accuracy for term in found.terms) == pytest.approx(
        accuracy(made.train) - accuracy(made.test), abs=1e-12
    )
    assert sum(term.loss for term in found.terms) == pytest.approx(
        made.test.loss.mean() - made.train.loss.mean(), abs=1e-9
    )
    exactly = found.test.loss - found.train.loss
    assert sum(term.loss for term in found.terms) == pytest.approx(exactly, abs=1e-12)
    assert [term.code for term in found.terms] == [code for code in CODES if found.find_term(code) is not None]
    for term in found.terms:
        for bounds in (term.accuracy_interval, term.loss_interval):
            assert bounds is None or bounds[0] <= bounds[1]


def test_all_terms_add_up_in_the_documented_order():
    made = make_every_term()
    assert_adds_up(made)
    assert tuple(term.code for term in gap(made).terms) == CODES


SOMETIMES = st.booleans()


@settings(max_examples=40)
@given(st.integers(0, 10_000), SOMETIMES, SOMETIMES, SOMETIMES, SOMETIMES, SOMETIMES, st.integers(1, 20))
def test_any_combination_of_terms_adds_up(seed, late, copies, all_copied, pixels, labels, kept):
    made = replace(make_every_term(seed), kept_epoch=kept)
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


def test_without_test_figures_there_is_no_gap():
    assert compute_gap(replace(make_every_term(), test=None, pixels=None, labels=None).stored()) is None
    assert compute_gap(make_every_term().stored().drop_test()) is None


# --- each term ----------------------------------------------------------------------------------------


def test_late_epochs_cost_the_advantage_of_the_best_epoch():
    made = make_every_term()
    found = term(made, "late_epochs")
    assert found.accuracy == pytest.approx(accuracy(made.best_by_accuracy[1]) - accuracy(made.validation))
    assert found.loss == pytest.approx(made.validation.loss.mean() - made.best_by_loss[1].loss.mean())
    confidence = 1 - 0.05 / made.epochs  # the best of these epochs looks better than it is
    paired = stats.ttest_rel(made.validation.loss, made.best_by_loss[1].loss).confidence_interval(confidence)
    assert found.loss_interval == pytest.approx((paired.low, paired.high))


def test_the_late_epochs_term_is_absent_if_the_best_epoch_was_kept_or_comes_later():
    assert gap(replace(make_every_term(), best_by_accuracy=None, best_by_loss=None)).find_term("late_epochs") is None
    assert gap(replace(make_every_term(), kept_epoch=5)).find_term("late_epochs") is None
    # The best epoch by accuracy is 7, after the kept epoch; by loss it is 5, before it.
    found = term(replace(make_every_term(), kept_epoch=6), "late_epochs")
    assert (found.accuracy, found.accuracy_interval) == (0, (0, 0))
    assert found.loss > 0


def measure_better_epoch(images: int, epochs: int) -> Term:
    """Measure a best epoch of many that answers `images` more of 400 images correctly, and none worse."""
    kept = answers(0.8, 400, 2)
    better = Answers(kept.right.copy(), kept.loss.copy())
    better.right[np.flatnonzero(~kept.right)[:images]] = True
    made = Made(TRAIN, kept, TEST, epochs=epochs, kept_epoch=epochs, best_by_accuracy=(1, better))
    return term(made, "late_epochs")


def test_the_best_of_many_epochs_must_be_better_than_the_best_of_two():
    """With six more images, McNemar's p is 0.014 without a continuity correction."""
    assert stats.chi2.sf(6, 1) == pytest.approx(0.0143, abs=1e-4)
    assert measure_better_epoch(6, epochs=2).accuracy == pytest.approx(6 / 400)
    unsure = measure_better_epoch(6, epochs=50)
    assert unsure.accuracy == 0
    assert unsure.accuracy_interval[0] < 0 < unsure.accuracy_interval[1]
    assert measure_better_epoch(20, epochs=50).accuracy == pytest.approx(20 / 400)


def test_generalization_is_the_rest_between_training_and_validation():
    plain = Made(TRAIN, VALIDATION, TEST)
    found = term(plain, "generalisation")
    assert found.accuracy == pytest.approx(accuracy(TRAIN) - accuracy(VALIDATION))
    assert found.accuracy_interval == pytest.approx(newcombe(TRAIN, VALIDATION), abs=1e-9)
    assert found.loss_interval == pytest.approx(welch(VALIDATION, TRAIN))
    made = make_every_term()
    late = term(made, "generalisation")
    assert late.accuracy_interval == pytest.approx(newcombe(TRAIN, made.best_by_accuracy[1]), abs=1e-9)
    assert late.loss_interval == pytest.approx(welch(made.best_by_loss[1], TRAIN))


def test_copies_raise_a_split_by_their_share_times_their_advantage():
    made = make_every_term()
    copied, clean = made.test[made.test_copied], made.test[~made.test_copied]
    found, share = term(made, "copies_in_test"), 200 / 900
    assert found.accuracy == pytest.approx(-share * (accuracy(copied) - accuracy(clean)))
    low, high = newcombe(copied, clean)
    assert found.accuracy_interval == pytest.approx((-share * high, -share * low), abs=1e-9)
    assert found.loss == pytest.approx(share * (copied.loss.mean() - clean.loss.mean()))
    low, high = welch(copied, clean)
    assert found.loss_interval == pytest.approx((share * low, share * high))
    # In validation they raise the figure that test is compared with, so the sign is opposite.
    validation = replace(made, validation=made.test, validation_copied=made.test_copied, best_by_accuracy=None)
    raised = term(replace(validation, best_by_loss=None), "copies_in_validation")
    assert raised.accuracy == pytest.approx(-found.accuracy)
    assert raised.accuracy_interval == pytest.approx(
        (share * newcombe(copied, clean)[0], share * newcombe(copied, clean)[1])
    )
    assert raised.loss == pytest.approx(-found.loss)


@pytest.mark.parametrize("copied", [None, marked(400, 0), marked(400, 400)], ids=["unknown", "none", "all"])
def test_copies_have_no_term_if_there_is_nothing_to_compare(copied):
    found = gap(Made(TRAIN, VALIDATION, TEST, validation_copied=copied))
    assert [term.code for term in found.terms] == ["generalisation", "split_difference"]
    whole = found.find_term("split_difference")
    assert whole.accuracy_interval == pytest.approx(newcombe(VALIDATION, TEST), abs=1e-9)


def test_images_of_one_group_say_less_than_as_many_of_different_groups():
    stored = Made(TRAIN, VALIDATION, TEST, validation_copied=marked(400, 0)).stored()
    copies = stored.validation_copies

    def bounds(family: float | None):
        with_family = stored.model_copy(update={"validation_copies": copies.model_copy(update={"family": family})})
        term = compute_gap(with_family).find_term("split_difference")
        return *term.accuracy_interval, *term.loss_interval

    counts = [count / 20 for of in (VALIDATION, TEST) for count in (of.right.sum(), len(of.right))]
    expected = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
    assert bounds(20.0) == pytest.approx((*expected, *welch(TEST, VALIDATION, 20)), abs=1e-9)
    # Without groups, and where groups seem to say otherwise, images have the families of most sets.
    usual = *newcombe(VALIDATION, TEST), *welch(TEST, VALIDATION)
    assert bounds(None) == bounds(1.0) == pytest.approx(usual, abs=1e-9)


@pytest.mark.parametrize(
    ("declared", "confirmed", "as_declared", "marked_as"),
    [
        (None, "a", 20.0, "a"),
        (9.0, "a", 20.0, "a"),
        (30.0, "a", 30.0, None),
        (9.0, "b", 9.0, None),
        (9.0, None, 9.0, None),
    ],
)
def test_groups_in_file_names_count_once_features_confirm_them(declared, confirmed, as_declared, marked_as):
    """They count as declared ones would, and are marked as found; others count nothing."""
    stored = Made(TRAIN, VALIDATION, TEST, validation_copied=marked(400, 0)).stored()

    def give(**groups: object) -> StoredGap:
        copies = stored.validation_copies.model_copy(update=groups)
        return stored.model_copy(update={"validation_copies": copies})

    found = compute_gap(give(family=declared, named_family=20.0, named_by="a"), confirmed)
    assert found.found_groups == marked_as
    assert found.terms == compute_gap(give(family=as_declared)).terms


def test_the_split_difference_excludes_copies_pixel_changes_and_label_order():
    made = make_every_term()
    clean = made.validation[~made.validation_copied]
    found = term(made, "split_difference")
    assert found.accuracy == pytest.approx(accuracy(clean) - accuracy(made.labels))
    assert found.accuracy_interval == pytest.approx(newcombe(clean, made.labels), abs=1e-9)
    assert found.loss_interval == pytest.approx(welch(made.labels, clean))


def test_undone_changes_are_compared_on_the_same_images():
    made = make_every_term()
    for code, undone, before in (
        ("label_order", made.labels, made.pixels),
        ("pixel_values", made.pixels, made.clean_test()),
    ):
        found = term(made, code)
        assert found.accuracy == pytest.approx(accuracy(undone) - accuracy(before))
        assert found.loss == pytest.approx(before.loss.mean() - undone.loss.mean())
        paired = stats.ttest_rel(before.loss, undone.loss).confidence_interval(0.95)
        assert found.loss_interval == pytest.approx((paired.low, paired.high))
        assert found.accuracy_interval[0] < found.accuracy < found.accuracy_interval[1]


def compute_halved_gap(made: Made, *, choices: tuple[str, str]) -> Gap:
    """Compute the gap of a test set whose halves, the even and the odd images, made these choices."""
    stored, before, after = made.stored(), made.clean_test(), made.pixels
    even, odd = (
        UndoneHalf(tally=after[part].tally(), change=changed(before[part], after[part]))
        for part in (slice(0, None, 2), slice(1, None, 2))
    )
    pixels = stored.pixels.model_copy(update={"choices": choices, "halves": (even, odd)})
    return compute_gap(stored.model_copy(update={"pixels": pixels}))


def undo_half() -> Made:
    """Make a test set in which only the pixels of the even images are undone."""
    test = answers(0.5, 600, 3)
    undone = Answers(test.right.copy(), test.loss.copy())
    better = answers(0.9, 300, 4)
    undone.right[::2], undone.loss[::2] = better.right, better.loss
    return Made(TRAIN, VALIDATION, test, pixels=undone)


def test_if_the_halves_of_test_disagree_the_intervals_include_both():
    made = undo_half()
    found = compute_halved_gap(made, choices=("brightness", "none"))
    pixels, rest = found.find_term("pixel_values"), found.find_term("split_difference")
    for part in (slice(0, None, 2), slice(1, None, 2)):
        before, after = made.test[part], made.pixels[part]
        for term, accuracy_of_half, loss_of_half in (
            (pixels, accuracy(after) - accuracy(before), before.loss.mean() - after.loss.mean()),
            (rest, accuracy(VALIDATION) - accuracy(after), after.loss.mean() - VALIDATION.loss.mean()),
        ):
            assert term.accuracy_interval[0] <= accuracy_of_half <= term.accuracy_interval[1]
            assert term.loss_interval[0] <= loss_of_half <= term.loss_interval[1]
    assert found.accuracy == pytest.approx(sum(term.accuracy for term in found.terms))
    assert found.loss == pytest.approx(sum(term.loss for term in found.terms))


def test_agreeing_halves_and_files_without_halves_have_the_same_intervals():
    made = undo_half()
    as_whole = compute_gap(made.stored())
    assert compute_halved_gap(made, choices=("brightness", "brightness")) == as_whole
    assert compute_halved_gap(made, choices=("brightness", "none")) != as_whole


def test_a_single_copy_has_an_accuracy_interval_but_no_loss_interval():
    found = term(Made(TRAIN, VALIDATION, TEST, validation_copied=marked(400, 1)), "copies_in_validation")
    assert found.loss_interval is None


# --- coverage of the intervals ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "family"), [("copies_in_test", FAMILY), ("split_difference", FAMILY), ("pixel_values", 1)]
)
def test_intervals_of_measuring_faults_have_their_nominal_coverage(code, family):
    """Simulate images: copies are answered correctly with 0.99, others with 0.8, and 0.6 if their pixels are changed.

    Images of a family are answered alike, which does not matter if the same images are compared.
    """
    draw, held = np.random.default_rng(7), 0
    copied = marked(600, 150)
    truth = {"copies_in_test": -0.25 * (0.99 - 0.6), "split_difference": 0.85 - 0.8, "pixel_values": 0.2}[code]
    for _ in range(600):
        chance = np.repeat(draw.random(600 // family), family)
        nothing = np.zeros(600)
        validation = Answers(np.repeat(draw.random(400 // family), family) < 0.85, nothing[:400])
        test = Answers(chance < np.where(copied, 0.99, 0.6), nothing)
        undone = Answers(chance[~copied] < 0.8, nothing[:450])
        made = Made(TRAIN, validation, test, test_copied=copied, pixels=undone)
        bounds = term(made, code).accuracy_interval
        held += bounds[0] <= truth <= bounds[1]
    assert 0.925 <= held / 600 <= 0.98


def test_intervals_of_what_does_not_generalize_hold_if_two_splits_of_the_same_images_tell_it():
    """Simulate sets of independent images, and of families of two to four that are answered alike.

    90% of training and 70% of new images are answered correctly. Two splits say little about how large families are, so
    the intervals hold for sets of all kinds together: in nearly all without families, in fewer with large ones.
    """
    draw, held, widths = np.random.default_rng(11), [], []
    for family in (1, 2, 3, 4) * 250:
        validation, test = (
            Answers(np.repeat(draw.random(count // family + 1), family)[:count] < 0.7, np.zeros(count))
            for count in (400, 600)
        )
        train = Answers(draw.random(2000) < 0.9, np.zeros(2000))
        low, high = term(Made(train, validation, test), "generalisation").accuracy_interval
        held.append(low <= 0.2 <= high)
        widths.append((high - low) / np.ptp(newcombe(train, validation)))
    assert 0.93 <= np.mean(held) <= 0.97
    assert np.median(widths) < 0.55


def test_splits_that_differ_do_not_tell_together_what_does_not_generalize():
    alike, differs = answers(0.86, 600, 3), answers(0.5, 600, 3)
    usual = newcombe(TRAIN, VALIDATION)
    assert term(Made(TRAIN, VALIDATION, differs), "generalisation").accuracy_interval == pytest.approx(usual, abs=1e-9)
    assert np.ptp(term(Made(TRAIN, VALIDATION, alike), "generalisation").accuracy_interval) < 0.6 * np.ptp(usual)
    copied = Made(TRAIN, VALIDATION, alike, validation_copied=marked(400, 45))
    assert term(copied, "generalisation").accuracy_interval == pytest.approx(usual, abs=1e-9)


def test_a_term_may_be_chance_only_if_neither_accuracy_nor_loss_is_clear():
    def may_be_chance(accuracy: tuple[float, float] | None, loss: tuple[float, float] | None) -> bool:
        return Term("generalisation", 0.01, accuracy, 0.1, loss).may_be_chance

    assert may_be_chance((-0.01, 0.03), (-0.1, 0.3))
    assert may_be_chance(None, None)
    assert not may_be_chance((-0.01, 0.03), (0.05, 0.15))
    assert not may_be_chance((0.005, 0.015), (-0.1, 0.3))


def test_a_gap_whose_parts_may_be_chance_is_not_said_to_have_no_cause():
    """Its verdict may have a sure cause that its parts do not show, such as wrong labels in train."""
    of_parts = gap(Made(train=answers(0.9, 4400), validation=answers(0.93, 1350), test=answers(0.961, 3195)))
    assert all(includes_0(term.accuracy_interval) for term in of_parts.terms)
    assert describe_budget(of_parts, by_loss=False) == (
        "Training accuracy is 90.0% and test accuracy 96.1%: the difference is more than chance, but each of its parts "
        "alone may be chance."
    )
