"""The diagnosis of curves with a known cause, on any scale, with noise, restarts and gaps."""

import math
import random
import time
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from heldout.diagnosis import Evaluation, Finding, History, diagnose
from heldout.diagnosis.curves import find_onset
from heldout.diagnosis.evaluation import SplitFigures, build_from_final
from heldout.diagnosis.history import read_history
from heldout.diagnosis.loss_trend import estimate_noise, measure_trend
from heldout.diagnosis.thresholds import MAX_CROSS_ENTROPY, MAX_MILD_RISE
from heldout.stored.gap import Calibration, StoredGap, Tally
from tests.heldout.diagnosis.made import FINE, OVERFIT, compare_last, falling, history, noisy, turning
from tests.heldout.made_views import final, split


def test_a_validation_loss_that_turns_up_while_training_falls_is_overfitting():
    diagnosis = diagnose(OVERFIT)
    assert diagnosis.verdict == "overfitting"
    best = min(range(40), key=OVERFIT.validation_loss.__getitem__) + 1
    assert diagnosis.best_epoch == best
    assert best < diagnosis.onset_epoch <= best + 5
    [finding] = [finding for finding in diagnosis.findings if finding.code == "overfitting"]
    assert f"epoch {best}" in finding.explanation
    assert finding.evidence["last"] == OVERFIT.validation_loss[-1]
    assert all(remedy.patch is None for remedy in finding.remedies)


def compare_with_last(kept: int, points: float, loss: float, spread: float = 0.02) -> Evaluation:
    """Compare the weights of epoch `kept` with those of epoch 40 on the same 1,000 test images."""
    last = compare_last(
        40, kept, "test", 1000, points, (points - spread, points + spread), 0.004, loss, (loss - spread, loss + spread)
    )
    return Evaluation({"test": SplitFigures(0.9, 1000, 0.3)}, (), last)


def find_overfitting(training: History, evaluation: Evaluation) -> Finding:
    [finding] = [finding for finding in diagnose(training, None, evaluation).findings if finding.code == "overfitting"]
    return finding


def test_the_cost_of_the_last_epoch_is_reported_if_other_weights_were_kept():
    finding = find_overfitting(OVERFIT, compare_with_last(11, 0.03, 0.5))
    assert finding.severity == "info"
    assert finding.evidence["last_epoch"]["accuracy_interval"] == pytest.approx((0.01, 0.05))
    assert finding.evidence["last_epoch"]["p"] == 0.004
    assert "the weights of epoch 40 are worse than those of epoch 11" in finding.explanation
    assert "accuracy is 3.0 points lower, loss is 0.5 higher" in finding.explanation


def test_a_comparison_on_the_same_images_proves_a_rise_hidden_by_noise():
    hidden = history(falling(40, 0.001), noisy(turning(40, 10, 0.0005), 0.04, 4))
    best = hidden.validation_loss.index(min(hidden.validation_loss)) + 1
    assert diagnose(hidden).verdict == "healthy"
    assert diagnose(hidden, None, compare_with_last(best, 0.01, 0.05)).onset_epoch is not None
    for unproven in (
        compare_with_last(best, 0.01, 0.05, spread=0.06),
        compare_with_last(best, 0.0, 0.005, spread=0.001),
    ):
        assert diagnose(hidden, None, unproven).onset_epoch is None


def test_a_training_that_kept_weights_from_before_the_rise_is_healthy():
    stopped = diagnose(OVERFIT, None, compare_with_last(11, 0.03, 0.5))
    assert (stopped.verdict, stopped.findings[0].severity) == ("healthy", "info")
    beginning = "The training was stopped in time: the weights of epoch 11 were kept."
    assert stopped.explanation.startswith(beginning)
    # Weights from well after the rise; and cases in which only the gap tells which epoch was kept.
    assert diagnose(OVERFIT, None, compare_with_last(35, 0.03, 0.5)).verdict == "overfitting"
    kept = Evaluation({}, (), None, gap_of(kept=11, epochs=40))
    assert diagnose(OVERFIT, None, kept).verdict == "healthy"
    last = Evaluation({}, (), None, gap_of(kept=40, epochs=40))
    assert diagnose(OVERFIT, None, last).verdict == "overfitting"


def gap_of(kept: int, epochs: int, calibration: Calibration | None = None) -> StoredGap:
    known = Tally(count=1000, correct=900, loss=0.3, loss_variance=0.1)
    return StoredGap(kept_epoch=kept, epochs=epochs, train=known, validation=known, test=None, calibration=calibration)


def test_weights_that_were_kept_too_early_are_reported():
    diagnosis = diagnose(FINE, None, compare_with_last(20, -0.03, -0.1))
    assert diagnosis.verdict == "not_converged"
    assert diagnosis.explanation.startswith("The kept epoch (20) is worse than the last (40).")
    # An equal loss with at least half a point more correct answers is better.
    assert diagnose(FINE, None, compare_with_last(20, -0.03, 0.01)).verdict == "not_converged"
    for points, verdict in ((-0.004, "healthy"), (-0.006, "not_converged")):
        assert diagnose(FINE, None, compare_with_last(20, points, 0.0005, spread=0.001)).verdict == verdict
    # A smaller loss with worse answers does not justify more patience.
    for points, loss in ((0.0, 0.0), (0.03, -0.1)):
        assert find_overfitting(FINE, compare_with_last(20, points, loss)).severity == "info"


def test_less_accurate_weights_that_were_kept_for_their_loss_mean_overconfidence():
    [finding] = diagnose(FINE, None, compare_with_last(20, -0.3, 0.5)).findings
    assert (finding.code, finding.severity) == ("overconfidence", "warning")
    assert finding.explanation.startswith("The kept epoch (20) is less accurate than the last (40).")
    assert "a better accuracy (30.0 points higher) and a worse loss (0.5 higher)" in finding.explanation


@pytest.mark.parametrize(
    ("points", "loss", "spread", "words"),
    [
        (0.03, 0.5, 0.02, "are worse than"),
        (-0.03, -0.5, 0.02, "are better than"),
        (-0.004, 0.5, 0.001, "are better in one way and worse in another than"),
        (0.01, 0.01, 0.02, "are neither clearly better nor clearly worse than"),
        (0.03, 0.01, 0.02, "are worse than"),
        (0.01, -0.5, 0.02, "are better than"),
    ],
)
def test_the_last_weights_are_called_better_or_worse_if_the_intervals_show_it(points, loss, spread, words):
    explanation = find_comparison(FINE, compare_with_last(20, points, loss, spread)).explanation
    assert f"the weights of epoch 40 {words} those of epoch 20" in explanation
    assert ("points lower" in explanation) == (points > 0)
    assert ("higher" in explanation.rpartition("loss is")[2]) == (loss > 0)


def find_comparison(training: History, evaluation: Evaluation) -> Finding:
    [finding] = [
        finding for finding in diagnose(training, None, evaluation).findings if "last_epoch" in finding.evidence
    ]
    return finding


def test_equal_figures_are_reported_as_the_same():
    words = find_overfitting(FINE, compare_with_last(20, 0.0, 0.0, spread=0.0)).explanation
    assert words.startswith("The weights of epoch 20 were kept.")
    assert "neither clearly better nor clearly worse" in words
    assert "accuracy is the same, loss is the same" in words


def test_a_curve_that_settles_is_healthy_whatever_its_gap():
    for gap in (0.0, 0.05, 0.5):
        diagnosis = diagnose(history(falling(40, 0.01), falling(40, 0.01 + gap)))
        assert (diagnosis.verdict, diagnosis.onset_epoch) == ("healthy", None)


@pytest.mark.parametrize("sd", [0.02, 0.15])
def test_noise_alone_is_not_overfitting(sd):
    """The larger noise moves the end of the curve by more than any fixed share of its fall."""
    flats = [noisy(falling(60, 0.3), sd, seed) for seed in range(10)]
    assert [diagnose(history(falling(60, 0.01), flat)).verdict for flat in flats] == ["healthy"] * 10


def test_noise_does_not_hide_overfitting():
    curves = [noisy(turning(60, 10, 0.01), 0.02, seed) for seed in range(10)]
    assert [diagnose(history(falling(60, 0.001), curve)).verdict for curve in curves] == ["overfitting"] * 10


def draw_fluctuations(epochs: int, sd: float, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(0, sd) for _ in range(epochs)]


@pytest.mark.parametrize("seed", range(10))
def test_fluctuating_weights_do_not_hide_a_rise_of_validation_alone(seed):
    """Fluctuations that both losses share come from the weights. Half of these rises are below one epoch's noise."""
    moved = draw_fluctuations(30, 0.03, seed)
    training = [0.2 * 0.9**epoch + 0.2 * move + 0.2 for epoch, move in enumerate(moved)]
    flat = [max(0.6, 0.8 - 0.02 * epoch) + move for epoch, move in enumerate(moved)]
    turned = [loss + 0.09 * min(1, max(0, epoch - 10) / 5) for epoch, loss in enumerate(flat)]
    assert diagnose(history(training, noisy(turned, 0.005, seed))).onset_epoch is not None
    assert estimate_noise(noisy(turned, 0.005, seed), training) < 0.02 < estimate_noise(turned)


def test_a_trend_over_ten_noisy_epochs_is_overfitting():
    rough = [0.9, 0.75, 0.76, 0.62, 0.6, 0.45]
    after = [0.48, 0.52, 0.49, 0.53, 0.5, 0.54, 0.51, 0.55, 0.52, 0.56]
    training = falling(16, 0.0, 0.3)
    assert diagnose(history(training, rough + after)).verdict == "overfitting"
    assert diagnose(history(training, rough + sorted(after, reverse=True))).verdict != "overfitting"
    # Training did not improve, or by less than its noise.
    noisy_fall = [0.5, 0.59, 0.57, 0.5] * 4
    for learned in ([max(training[5], loss) for loss in training], noisy_fall):
        assert diagnose(history(learned, rough + after)).verdict != "overfitting"
    # If the rise is clear by itself, it is enough that the training loss falls.
    assert diagnose(history(noisy_fall, turning(16, best=5))).verdict == "overfitting"


def test_two_weak_signs_are_enough_together():
    """The trend is below two standard deviations, and the end is little more than the noise above the best."""
    rough = [0.9, 0.75, 0.76, 0.62, 0.6, 0.45]
    leaning = [0.45, 0.48, 0.47, 0.49, 0.5, 0.47, 0.48, 0.53]
    training = falling(14, 0.0, 0.3)
    noise = estimate_noise(rough + leaning, training)
    assert noise < measure_trend(rough + leaning).rise < 2 * noise
    assert diagnose(history(training, rough + leaning)).verdict == "overfitting"
    # The same values without the trend, and the same trend with a lower end.
    for after in (sorted(leaning, reverse=True), [*leaning[:-2], 0.46, 0.46]):
        assert diagnose(history(training, rough + after)).verdict == "healthy"


def test_a_creeping_validation_loss_is_not_overfitting_if_training_learned_nothing():
    creeping, barely = ([2.28 + step * epoch for epoch in range(12)] for step in (0.01, 0.004))
    assert diagnose(history([2.31 - 0.0004 * epoch for epoch in range(12)], creeping)).verdict != "overfitting"
    assert diagnose(history([2.31 - 0.05 * epoch for epoch in range(12)], creeping)).verdict == "overfitting"
    found = diagnose(history([2.31 - 0.05 * epoch for epoch in range(12)], barely))
    assert found.verdict == "cannot_tell"
    assert "no epoch in between was clearly better" in found.explanation


def test_a_rise_too_small_to_matter_is_reported_as_healthy():
    turned = [max(1.9, 2.3 - 0.04 * epoch) + 0.001 * max(0, epoch - 20) for epoch in range(30)]
    found = diagnose(history([2.3 - 0.05 * epoch for epoch in range(30)], turned))
    assert found.verdict == "healthy"
    assert "(1.90) and ends at 1.909. That is too little to matter" in found.explanation


def test_a_rise_within_negligible_losses_is_not_overfitting():
    """The loss rises from 0.00002 to 0.0005, and guessing costs 2.3. Ten times as much is overfitting."""
    training = falling(30, 0.000001)
    for scale, is_one in ((1, False), (10, True)):
        turned = [max(loss, 0.00002 + scale * 0.00003 * max(0, epoch - 14)) for epoch, loss in enumerate(training)]
        assert (diagnose(history(training, turned)).verdict == "overfitting") == is_one


def test_a_late_uptick_restarts_and_a_lower_learning_rate_are_not_overfitting():
    uptick = falling(30, 0.2)
    uptick[-1] += 0.1
    restart = [loss + (0.4 if epoch in {10, 20} else 0.0) for epoch, loss in enumerate(falling(30, 0.2))]
    dropped = falling(15, 0.5) + [0.3 + 0.02 * math.exp(-epoch) for epoch in range(15)]
    for curve in (uptick, restart, dropped):
        assert diagnose(history(falling(30, 0.01), curve)).verdict == "healthy"


def test_warm_restarts_that_end_lower_each_time_are_not_overfitting():
    cycles = [0.2 + (0.5 - 0.12 * (epoch // 10)) * (1 - (epoch % 10) / 10) for epoch in range(40)]
    for curve in (cycles, noisy(cycles, 0.01)):
        assert diagnose(history(falling(40, 0.01, 0.2), curve)).verdict in {"healthy", "not_converged"}


@pytest.mark.parametrize("epochs", [5, 10, 50, 500])
def test_overfitting_is_detected_in_a_few_or_hundreds_of_epochs(epochs):
    best = epochs // 3
    turned = [0.3 + abs(epoch - best) / epochs for epoch in range(epochs)]
    diagnosis = diagnose(history(falling(epochs, 0.0, 4 / epochs), turned))
    assert (diagnosis.verdict, diagnosis.best_epoch) == ("overfitting", best + 1)
    assert best + 1 < diagnosis.onset_epoch <= best + 3


def test_three_epochs_only_show_whether_losses_still_fall():
    assert diagnose(history([2.0, 1.2, 0.8], [2.1, 1.4, 1.0])).verdict == "not_converged"
    assert diagnose(history([2.0, 1.2, 0.8], [1.0, 1.0, 1.4])).verdict == "cannot_tell"


def test_an_objective_with_penalties_is_judged_by_its_fall_and_not_its_level():
    """Keras' `val_loss` includes penalties, so 13 may be as good as 0.3."""
    high = [13 + loss for loss in falling(40, 0.1)]
    assert diagnose(History(fit_loss=tuple(falling(40, 0.05)), validation_loss=tuple(high))).verdict == "healthy"
    turned = [13 + loss for loss in turning(40)]
    assert diagnose(History(fit_loss=tuple(falling(40, 0.05)), validation_loss=tuple(turned))).verdict == "overfitting"


def test_the_training_loss_may_be_another_objective_above_the_validation_loss():
    smoothed = [5 + 3 * loss for loss in falling(40, 0.001)]
    for validation, verdict in ((turning(40), "overfitting"), (falling(40, 0.1), "healthy")):
        assert diagnose(History(fit_loss=tuple(smoothed), validation_loss=tuple(validation))).verdict == verdict


def test_a_validation_loss_needs_some_training_figure():
    shown = History(validation_loss=tuple(turning(40)), train_accuracy=(0.9,) * 40, train_loss=tuple(falling(40)))
    assert diagnose(shown).verdict == "overfitting"
    assert diagnose(History(validation_loss=tuple(turning(40)))).verdict == "cannot_tell"  # nothing to compare it with


@given(factor=st.floats(1e-3, 1e3), offset=st.floats(-50, 50), which=st.sampled_from([OVERFIT, FINE]))
def test_the_scale_and_the_offset_of_a_loss_do_not_matter(factor, offset, which):
    """Measured losses are cross-entropies, which have no offset; what `fit` reports may have any.

    But a loss that could be a cross-entropy is treated as one, so an offset may make its rise mild.
    """
    lowest, end = (factor * value + offset for value in (min(which.validation_loss), which.validation_loss[-1]))
    assume(not 0 < lowest <= MAX_CROSS_ENTROPY or not 0 < end - lowest < 2 * MAX_MILD_RISE * lowest)
    for measured, added in ((True, 0.0), (False, offset)):
        training, validation = (
            tuple(factor * value + added for value in curve) for curve in (which.train_loss, which.validation_loss)
        )
        names = "train_loss" if measured else "fit_loss"
        other = History(**{names: training, "validation_loss": validation})
        assert diagnose(other).verdict == diagnose(which).verdict
        assert diagnose(other).best_epoch == diagnose(which).best_epoch


@given(
    st.lists(st.one_of(st.none(), st.floats(-1e100, 1e100)), max_size=30),
    st.lists(st.one_of(st.none(), st.floats(-1e100, 1e100)), max_size=30),
    st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30),
)
def test_any_history_gets_an_answer(training, validation, accuracy):
    curves = History(train_loss=tuple(training), validation_loss=tuple(validation), validation_accuracy=tuple(accuracy))
    diagnosis = diagnose(curves)
    assert diagnosis.verdict
    assert diagnosis.explanation
    assert diagnosis.onset_epoch is None or diagnosis.onset_epoch > diagnosis.best_epoch


def test_few_epochs_or_no_curve_cannot_be_judged():
    assert diagnose(History()).verdict == "cannot_tell"
    assert diagnose(history([1.0, 0.5], [1.0, 0.6])).verdict == "cannot_tell"


def test_a_history_of_accuracies_alone_is_judged():
    right = [1 - loss / 3 for loss in falling(40, 0.01)]
    wrong = [1 - loss / 3 for loss in turning(40, 10, 0.05)]
    alone = History(train_accuracy=tuple(right), validation_accuracy=tuple(wrong))
    assert diagnose(alone).verdict == "overfitting"


def test_falling_losses_have_not_converged_and_the_first_epoch_can_be_the_best():
    assert diagnose(history(falling(10, 0.0, 0.05), falling(10, 0.1, 0.05))).verdict == "not_converged"
    rising = history(falling(20, 0.0), [0.3 + 0.05 * epoch for epoch in range(20)])
    diagnosis = diagnose(rising)
    assert (diagnosis.verdict, diagnosis.best_epoch) == ("overfitting", 1)


def test_a_loss_that_is_not_finite_or_climbs_has_diverged():
    assert diagnose(history([1.0, 0.5, None], [1.0, 0.6, None])).verdict == "diverged"
    climbing = [2.3 + 0.5 * epoch for epoch in range(8)]
    assert diagnose(history(climbing, climbing)).verdict == "diverged"


def test_a_network_that_forgets_what_it_learned_has_diverged():
    lost = [2.3, 1.1, 0.6, 0.4, 0.25, *[2.3] * 7]
    for training in (history(lost, lost), History(fit_loss=tuple(lost), validation_loss=tuple(lost))):
        diagnosis = diagnose(training)
        assert diagnosis.verdict == "diverged"
        assert "but was 0.25 in epoch 5: the network has lost what it had learned" in diagnosis.explanation
    # A fluctuating plateau has nothing to forget.
    smooth = [2.303 - 0.0001 * min(epoch, 20 - epoch) for epoch in range(20)]
    for plateau in (noisy([2.303] * 20, 0.0004), smooth):
        assert diagnose(history(plateau, plateau)).verdict == "cannot_tell"


# Curves that must not be called healthy, and what the explanation says instead.
UNHEALTHY = {
    "both turned up": (
        [2, 1, 0.5, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
        [2, 1.1, 0.6, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1],
        "lowest in epoch 4 (0.50) and ends at 1.10",
    ),
    "training stands still": (
        [0.2] * 11,
        [0.3 + 0.034 * epoch for epoch in range(11)],
        "the training loss ends at 0.20, and was 0.20 in epoch 1. The network has learned nothing",
    ),
    "nothing learned": (
        [2.303] * 10,
        [2.303] * 10,
        "is 2.303 after 10 epochs; no epoch in between was clearly better",
    ),
    "learned and of no use": (
        falling(12),
        [2.3] * 12,
        "is 2.30 after 12 epochs; no epoch in between was clearly better",
    ),
}


@pytest.mark.parametrize("case", UNHEALTHY)
def test_curves_that_no_rule_explains_are_not_called_healthy(case):
    training, validation, words = UNHEALTHY[case]
    diagnosis = diagnose(History(fit_loss=tuple(training), validation_loss=tuple(validation)))
    assert diagnosis.verdict == "cannot_tell"
    assert words in diagnosis.explanation


def test_a_falling_accuracy_without_a_rising_loss_cannot_be_judged():
    falls = tuple(0.9 - 0.03 * epoch for epoch in range(20))
    shown = History(
        fit_loss=tuple(falling(20, 0.05)), validation_loss=tuple(falling(20, 0.1)), validation_accuracy=falls
    )
    diagnosis = diagnose(shown)
    assert diagnosis.verdict == "cannot_tell"
    assert "fell from 88.5% to 36.0%, but the validation loss did not rise" in diagnosis.explanation
    little = tuple(0.5 + 0.4 * min(1, epoch / 5) - 0.004 * max(0, epoch - 5) for epoch in range(20))
    assert diagnose(replace(shown, validation_accuracy=little)).verdict == "healthy"


def make_external(training: list[float], validation: list[float]) -> History:
    return History(fit_loss=tuple(training), validation_loss=tuple(validation))


@pytest.mark.parametrize("offset", [0.0, 13.0])
def test_a_rise_in_another_programs_loss_is_compared_with_half_of_the_fall(offset):
    """A rise of 0.035 is a sixtieth of the fall, and one of 0.015 is less than an eightieth."""
    training = [offset + loss for loss in falling(30, 0.01)]
    for rise, is_one in ((0.003, True), (0.0015, False)):
        turned = [offset + loss for loss in turning(30, rise=rise)]
        assert (diagnose(make_external(training, turned)).onset_epoch is not None) == is_one
    # It is unknown how low a loss above any cross-entropy could go, so 4% of half the fall counts, too.
    assert (
        diagnose(make_external(training, [offset + loss for loss in turning(30, rise=0.004)])).verdict == "overfitting"
    )


@pytest.mark.parametrize("offset", [0.0, 13.0])
def test_a_rise_in_another_programs_loss_is_compared_with_the_cost_of_wrong_answers(offset):
    """Seven wrong answers of ten cost at least 0.49; the fall is 0.4. A rise of 0.008 exceeds 2.5% of half the fall."""
    training = [offset + 2.3 - 0.05 * epoch for epoch in range(30)]
    known = tuple(0.1 + 0.2 * min(1, epoch / 10) for epoch in range(30))
    for rise, with_accuracies in ((0.008, False), (0.02, True)):
        turned = [offset + max(1.9, 2.3 - 0.04 * epoch) + rise * max(0, epoch - 20) / 8 for epoch in range(30)]
        curves = make_external(training, turned)
        assert diagnose(curves).onset_epoch is not None
        assert (diagnose(replace(curves, validation_accuracy=known)).onset_epoch is not None) == with_accuracies


def test_a_rise_of_a_squared_error_is_detected():
    training = [0.09 * 0.8**epoch for epoch in range(30)]
    turned = [max(0.02, 0.09 * 0.8**epoch) + 0.0004 * max(0, epoch - 20) for epoch in range(30)]
    curves = replace(make_external(training, turned), validation_accuracy=(0.7,) * 30)
    assert diagnose(curves).onset_epoch is not None


def test_a_rise_from_the_first_epoch_is_compared_with_the_fall_of_training():
    training = falling(20, 0.3)
    for rise, is_one in ((0.001, False), (0.003, True)):
        found = diagnose(make_external(training, [2.3 + rise * epoch for epoch in range(20)]))
        assert (found.onset_epoch is not None) == is_one


def test_fluctuations_shared_with_fits_average_are_not_noise():
    found = []
    for seed in range(10):
        moved = draw_fluctuations(30, 0.03, seed)
        training = [0.2 * 0.9**epoch + 0.2 * move + 0.2 for epoch, move in enumerate(moved)]
        flat = [max(0.6, 0.8 - 0.02 * epoch) + move for epoch, move in enumerate(moved)]
        turned = [loss + 0.03 * min(1, max(0, epoch - 10) / 5) for epoch, loss in enumerate(flat)]
        found.append(diagnose(make_external(training, noisy(turned, 0.005, seed))).onset_epoch is not None)
    assert sum(found) >= 5  # with all of the noise, only one is found


def test_a_small_fall_of_fits_average_counts_as_learning():
    rough = [0.9, 0.75, 0.76, 0.62, 0.6, 0.45]
    after = [0.48, 0.52, 0.49, 0.53, 0.5, 0.54, 0.51, 0.55, 0.52, 0.56]
    training = [2.3, 1.4, 0.9, 0.6, 0.4, 0.3] + [0.3 - 0.01 * epoch for epoch in range(1, 11)]
    assert diagnose(make_external(training, rough + after)).verdict == "overfitting"


def test_the_quoted_figures_are_those_that_were_judged():
    """A single bad last epoch does not represent the end of training."""
    training = falling(40, 0.001)
    training[-1] = 0.5
    finding = find_overfitting(history(training, turning(40)), Evaluation({}))
    assert finding.evidence["training_at_end"] < finding.evidence["training_at_best"]
    assert (
        f"fell below {finding.evidence['training_at_best']:.4g} (and was 0.50 in the last epoch)" in finding.explanation
    )


def test_the_severity_of_overfitting_does_not_depend_on_an_offset():
    severities = set()
    for offset in (0.0, 5.0, 50.0):
        turned = tuple(offset + loss for loss in turning(40, rise=0.01))
        severities.add(diagnose(History(fit_loss=tuple(falling(40)), validation_loss=turned)).findings[0].severity)
    assert len(severities) == 1


def test_epochs_are_numbered_as_in_the_history():
    figures = {"fit_loss": OVERFIT.train_loss, "validation_loss": OVERFIT.validation_loss}
    plain = diagnose(History(**figures))
    diagnosis = diagnose(History(**figures, numbers=tuple(range(5, 205, 5))))
    assert (diagnosis.best_epoch, diagnosis.onset_epoch) == (5 * plain.best_epoch, 5 * plain.onset_epoch)
    assert f"lowest in epoch {5 * plain.best_epoch} " in diagnosis.explanation
    assert f"the best epoch ({5 * plain.best_epoch})" in diagnosis.findings[0].remedies[0].reason


def test_what_is_missing_is_named():
    assert diagnose(History(validation_loss=(1.0,) * 9)).explanation.startswith("Training results are known for no")
    assert diagnose(history([1.0], [1.0])).explanation.startswith("Training results are known for only 1 epoch,")
    falls = History(fit_accuracy=(None, *(0.9,) * 9), validation_accuracy=(*(0.9,) * 5, *(0.2,) * 5))
    assert diagnose(falls).explanation.startswith("Training results are known for no epoch")


def test_tens_of_thousands_of_epochs_are_judged_quickly():
    """The rise is hidden by the noise of single epochs, so all epochs have to be considered."""
    epochs = 40_000
    draw = random.Random(0)
    slowly = [loss + 0.04 * max(0.0, epoch / epochs - 0.5) for epoch, loss in enumerate(falling(epochs, 0.5, 0.001))]
    training, curve = falling(epochs, 0.01, 0.0002), [loss + draw.uniform(-0.05, 0.05) for loss in slowly]
    began = time.process_time()
    assert diagnose(history(training, curve)).verdict == "overfitting"
    assert time.process_time() - began < 1.5


def test_the_estimated_noise_of_a_curve_ignores_its_trend():
    assert estimate_noise([3.0 - 0.1 * epoch for epoch in range(20)]) == pytest.approx(0, abs=1e-12)
    assert estimate_noise(noisy([1.0] * 400, 0.05)) == pytest.approx(0.05, rel=0.2)
    assert find_onset(measure_trend([1.0])) is None


# --- where histories come from -----------------------------------------------------------------------


def test_served_metrics_are_understood():
    epochs = [
        {"epoch": 1, "train_loss": 1.0, "validation_loss": None},
        {"epoch": 2, "train_loss": 0.5, "validation_loss": 0.7},
    ]
    assert read_history(epochs).validation_loss == (None, 0.7)
    train, validation = split(9, 10), split(4, 10)
    found = build_from_final(final(train, validation, test=None), ["a"])
    assert {name: figures.counts for name, figures in found.splits.items()} == {"train": (9, 10), "validation": (4, 10)}
