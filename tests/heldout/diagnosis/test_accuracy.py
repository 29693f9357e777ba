"""What accuracy adds to the loss: overconfidence, the effect of an early stop, and changes too small to matter."""

import random
from dataclasses import replace

import numpy as np
import pytest

from heldout.diagnosis import Evaluation, Finding, History, diagnose
from heldout.diagnosis.loss_trend import choose_patience, compute_accuracy_change
from heldout.spec.job import JobSpec
from heldout.stored.gap import Calibration, StoredGap, Tally
from tests.heldout.diagnosis.made import OVERFIT, compare_last, falling, figures, history, noisy, spec, turning
from tests.merge_patch import merged

EPOCHS = 40
BEST = 11  # of OVERFIT's validation loss


def with_accuracy(accuracy: list[float], curves: History = OVERFIT) -> History:
    return replace(curves, validation_accuracy=tuple(accuracy), train_accuracy=(0.9,) * len(accuracy))


def change_accuracy(points: float, start: float = 0.6) -> list[float]:
    """Make an accuracy that is steady until the best epoch and then changes by this many points within five epochs."""
    return [start + points / 100 * min(1, max(0, epoch - BEST) / 5) for epoch in range(EPOCHS)]


def finding_of(code: str, *known: object) -> Finding:
    [finding] = [finding for finding in diagnose(*known).findings if finding.code == code]
    return finding


# --- overfitting or overconfidence -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "code"),
    [
        (32, "overconfidence"),
        (0, "overconfidence"),
        (-0.9, "overconfidence"),
        (-1.1, "overfitting"),
        (-20, "overfitting"),
    ],
)
def test_a_rising_loss_is_overfitting_only_if_accuracy_falls_by_a_point(points, code):
    codes = {finding.code for finding in diagnose(with_accuracy(change_accuracy(points))).findings}
    assert code in codes
    assert len(codes & {"overfitting", "overconfidence"}) == 1


def test_an_accuracy_too_noisy_to_exclude_a_fall_of_three_points_counts_as_fallen():
    found = [
        {finding.code for finding in diagnose(with_accuracy(noisy(change_accuracy(0), sd, seed))).findings}
        for sd in (0.005, 0.08)
        for seed in range(10)
    ]
    assert all("overconfidence" in codes for codes in found[:10])
    assert sum("overfitting" in codes for codes in found[10:]) >= 9


def test_a_rise_above_the_noise_needs_no_bound_on_a_fall():
    assert diagnose(with_accuracy(noisy(change_accuracy(30, 0.4), 0.08, 1))).verdict == "overconfidence"


def test_without_a_useful_accuracy_a_rising_loss_is_overfitting():
    assert diagnose(OVERFIT).verdict == "overfitting"
    guessing = Evaluation({}, tuple("abcdefghij"))
    assert diagnose(with_accuracy(change_accuracy(2, 0.11)), None, guessing).verdict == "overfitting"
    assert diagnose(with_accuracy(change_accuracy(2, 0.51)), None, guessing).verdict == "overconfidence"


def test_the_error_of_an_accuracy_change_equals_its_simulated_spread():
    """The spread is measured over many curves without a change."""
    found = [compute_accuracy_change(noisy([0.7] * 60, 0.02, seed), [], 20, 60) for seed in range(200)]
    spread = np.std([change.change for change in found])
    assert np.median([change.error for change in found]) == pytest.approx(spread, rel=0.2)


def test_a_training_whose_accuracy_rises_from_44_to_76_percent_is_not_stopped_at_44():
    """In a real training that someone posted, keeping epoch 6 as advised cost ten points of test accuracy."""
    accuracy = [0.3 + 0.46 * min(1, epoch / 30) for epoch in range(EPOCHS)]
    accuracy[5] = 0.44
    loss = [max(0.95, 2.2 - 0.25 * epoch) + 0.011 * max(0, epoch - 5) for epoch in range(EPOCHS)]
    before = spec(training={"epochs": EPOCHS, "on_overfit": "stop_and_restore"})
    shown = History(
        train_loss=tuple(2.3 * 0.9**epoch for epoch in range(EPOCHS)),
        validation_loss=tuple(loss),
        validation_accuracy=tuple(accuracy),
    )
    diagnosis = diagnose(shown, None, None, before)
    assert diagnosis.verdict == "overconfidence"
    assert "validation accuracy rose from 44.0% to 76.0%" in diagnosis.explanation
    assert (
        "Stopping at epoch 6 would have lowered the validation loss from 1.324 to 0.95 (better) and lowered accuracy "
        "from 76.0% to 44.0% (worse)."
    ) in diagnosis.explanation
    assert "only learned what holds" not in diagnosis.explanation
    names = [remedy.name for remedy in diagnosis.findings[0].remedies]
    assert names == ["label_smoothing", "temperature", "early_stopping"]
    after = JobSpec.model_validate(merged(before, diagnosis.findings[0].remedies[-1].patch)).training
    assert after.early_stopping.monitor == "validation_accuracy"
    assert after.early_stopping.restore_best
    assert after.on_overfit == "warn"  # the guard would stop by the loss


def test_label_smoothing_of_a_tenth_is_suggested_unless_the_spec_has_some():
    curves = with_accuracy(change_accuracy(5))
    [smoothing] = [
        remedy for remedy in finding_of("overconfidence", curves, None, None, spec()).remedies if remedy.patch
    ][:1]
    assert smoothing.patch == {"training": {"label_smoothing": 0.1}}
    smoothed = spec(training={"label_smoothing": 0.05})
    names = {remedy.name for remedy in finding_of("overconfidence", curves, None, None, smoothed).remedies}
    assert "label_smoothing" not in names


def test_a_measured_calibration_is_reported_before_and_after_temperature_scaling():
    tally = Tally(count=500, correct=400, loss=1.0, loss_variance=1.0)
    measured = Calibration(temperature=2.1, error_before=0.142, error_after=0.031, loss_before=1.3, loss_after=0.9)
    gap = StoredGap(kept_epoch=EPOCHS, epochs=EPOCHS, train=tally, validation=tally, test=None, calibration=measured)
    finding = finding_of("overconfidence", with_accuracy(change_accuracy(5)), None, Evaluation({}, (), None, gap))
    assert finding.evidence["calibration"]["error_before"] == 0.142
    assert (
        "on average 14.2 points away from how often the network is right, and 3.1 points once its outputs are divided "
        "by 2.10"
    ) in finding.explanation
    assert any("by 2.10" in remedy.reason for remedy in finding.remedies)
    useless = gap.model_copy(update={"calibration": measured.model_copy(update={"error_after": 0.15})})
    finding = finding_of("overconfidence", with_accuracy(change_accuracy(5)), None, Evaluation({}, (), None, useless))
    assert "temperature scaling does not fix that" in finding.explanation
    assert "temperature" not in {remedy.name for remedy in finding.remedies}


# --- what an early stop changes ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (-20, "raised accuracy from 40.0% to 60.0% (better)."),
        (20, "lowered accuracy from 80.0% to 60.0% (worse)."),
        (0, "left accuracy at 60.0%."),
    ],
)
def test_the_effect_of_stopping_early_is_called_better_or_worse(points, words):
    [finding, *_] = diagnose(with_accuracy(change_accuracy(points))).findings
    texts = [finding.explanation, *(remedy.reason for remedy in finding.remedies)]
    assert any(text.endswith(words) or f"{words} " in text for text in texts), texts


def test_a_change_that_may_be_chance_is_marked_as_such():
    accuracy = noisy(change_accuracy(0), 0.01, 3)
    accuracy[BEST - 1], accuracy[-1] = 0.62, 0.61
    [finding, *_] = diagnose(with_accuracy(accuracy)).findings
    texts = [finding.explanation, *(remedy.reason for remedy in finding.remedies)]
    assert any("raised accuracy from 61.0% to 62.0% (which may be chance)" in text for text in texts)


def test_early_stopping_is_suggested_with_the_patience_to_reach_the_best_epoch():
    waits = [2.0, 1.5, 1.6, 1.7, 1.6, 1.65, 1.7, 1.66, 1.62, 1.2, 0.9, 0.7]
    assert choose_patience(waits, 11) == 8
    assert choose_patience(waits, 1) == 1
    curve = waits + [0.7 + 0.05 * epoch for epoch in range(1, 20)]
    rising = history(falling(len(curve), 0.001, 0.2), curve)
    assert suggest_patience(rising) == 8
    assert suggest_patience(OVERFIT) == 5
    endless = [2.0, 1.5, *[1.6] * 150, 1.2, 0.9, 0.7, *[0.7 + 0.05 * epoch for epoch in range(1, 40)]]
    assert suggest_patience(history(falling(len(endless), 0.001, 0.05), endless)) == 100


def suggest_patience(curves: History) -> int:
    [stopping, *_] = finding_of("overfitting", curves, None, None, spec(training={"epochs": 300})).remedies
    return stopping.patch["training"]["early_stopping"]["patience"]


def test_regularization_is_not_suggested_for_a_network_that_fits_its_training_images_poorly():
    weak = Evaluation({"train": figures(0.3, 500), "validation": figures(0.28, 500)}, tuple("abcdefghij"))
    curves = replace(with_accuracy(change_accuracy(-5, 0.35)), train_accuracy=(0.3,) * EPOCHS)
    advised = finding_of("overfitting", curves, None, weak).remedies
    assert [remedy.name for remedy in advised] == ["early_stopping"]


# --- mild is mild ------------------------------------------------------------------------------------


def make_rise(share: float, height: float = 0.5) -> History:
    """Make a validation loss that ends this share above its lowest level."""
    down = [max(height, 2.3 - 0.3 * epoch) for epoch in range(EPOCHS)]
    rise = share * height
    return history(
        falling(EPOCHS, 0.001), [loss + rise * min(1, max(0, epoch - 15) / 10) for epoch, loss in enumerate(down)]
    )


@pytest.mark.parametrize(("share", "severity"), [(0.038, "info"), (0.042, "warning")])
def test_a_loss_that_ends_less_than_four_percent_above_its_best_is_only_an_info(share, severity):
    finding = finding_of("overfitting", make_rise(share))
    assert finding.severity == severity
    assert (finding.remedies == ()) == (severity == "info")
    for curves in (make_rise(share), make_external(make_rise(share, height=1.0))):
        assert (diagnose(curves).verdict == "healthy") == (severity == "info")
    assert finding_of("overconfidence", with_accuracy([0.8] * EPOCHS, make_rise(share))).severity == severity


def test_a_small_rise_is_not_mild_if_accuracy_clearly_fell():
    fell = [0.8 - 0.05 * min(1, max(0, epoch - 15) / 5) for epoch in range(EPOCHS)]
    assert finding_of("overfitting", with_accuracy(fell, make_rise(0.03))).severity == "warning"


def make_external(curves: History) -> History:
    return History(fit_loss=curves.train_loss, validation_loss=curves.validation_loss)


def test_a_rise_of_a_high_loss_is_compared_with_half_of_its_fall():
    """A loss of 13 cannot be a cross-entropy, so a rise that is mild at 6 is a warning there."""
    turned = turning(EPOCHS, 10, 0.004)
    for offset, severity in ((13.0, "warning"), (6.0, "info")):
        lifted = History(
            fit_loss=tuple(offset + loss for loss in falling(EPOCHS, 0.01)),
            validation_loss=tuple(offset + loss for loss in turned),
        )
        assert finding_of("overfitting", lifted).severity == severity


# --- statements about the end ------------------------------------------------------------------------


def test_an_unusual_last_epoch_is_reported_as_a_range():
    curves = list(OVERFIT.validation_loss)
    curves[-1] = 0.4
    words = diagnose(history(list(OVERFIT.train_loss), curves)).explanation
    assert f"ends between 0.40 and {curves[-2]:.2f} (the last 3 epochs)" in words
    assert f"ends at {OVERFIT.validation_loss[-1]:.4g}" in diagnose(OVERFIT).explanation
    curves[-1] = curves[-2] - 0.05  # a tenth of the rise
    assert f"ends at {curves[-1]:.4g}" in diagnose(history(list(OVERFIT.train_loss), curves)).explanation


def test_a_rise_within_the_noise_is_explained_next_to_its_figures():
    """The loss is 0.465 at its lowest and 0.512 at the end, and the text says that this is noise."""
    curve = [0.9, 0.75, 0.7, 0.62, 0.6, 0.55, 0.465, 0.52, 0.48, 0.53, 0.475, 0.512]
    diagnosis = diagnose(history([0.8**epoch for epoch in range(12)], curve))
    assert diagnosis.verdict == "healthy"
    assert "lowest in epoch 7 (0.465) and ends at 0.512" in diagnosis.explanation
    assert "so it is not a lasting rise. Keep the weights of the best epoch." in diagnosis.explanation
    assert "did not" not in diagnosis.explanation


def test_an_accuracy_that_hardly_changed_is_not_called_better():
    """It rose on average, but fell from the best epoch to the last."""
    accuracy = change_accuracy(5)
    accuracy[-1] = accuracy[10] - 0.001
    words = diagnose(with_accuracy(accuracy)).explanation
    assert "validation accuracy hardly changed" in words
    assert "answers as well as before" in words


@pytest.mark.parametrize(("sd", "bounces"), [(0.04, True), (0.008, False)])
def test_bouncing_at_the_end_is_reported(sd, bounces):
    draw = random.Random(2)
    curve = [0.3 + 2 * 0.6**epoch + draw.gauss(0, sd) for epoch in range(EPOCHS)]
    curve[-1] = max(curve[-1], min(curve) + 0.05)
    words = diagnose(history(falling(EPOCHS, 0.05), curve)).explanation
    assert ("goes up and down from epoch to epoch" in words) == bounces


# --- healthy means healthy ---------------------------------------------------------------------------

SETTLED = history(falling(EPOCHS, 0.05), falling(EPOCHS, 0.5))


def counts(train: float, validation: float, classes: int, images: int = 2000) -> Evaluation:
    names = tuple(map(str, range(classes)))
    return Evaluation({"train": figures(train, images), "validation": figures(validation, images)}, names)


def test_an_otherwise_unexplained_large_gap_is_too_little_data():
    diagnosis = diagnose(SETTLED, None, counts(0.998, 0.7, 10), spec())
    assert diagnosis.verdict == "too_little_data"
    names = [remedy.name for remedy in diagnosis.findings[0].remedies]
    assert names == ["fix_data", "augmentation", "dropout", "l2", "smaller_network"]
    assert "there are 2,000 now" in diagnosis.findings[0].remedies[0].reason
    assert diagnose(SETTLED, None, counts(0.99, 0.895, 10)).verdict == "healthy"
    assert diagnose(SETTLED, None, counts(0.99, 0.885, 10)).verdict == "too_little_data"
    # These ten points may be chance.
    unsure = diagnose(SETTLED, None, counts(0.99, 0.88, 10, images=60))
    assert unsure.verdict == "cannot_tell"
    assert "it may be chance" in unsure.explanation


def test_a_gap_with_another_explanation_is_not_too_little_data():
    codes = {
        finding.code for finding in diagnose(with_accuracy(change_accuracy(-20)), None, counts(0.998, 0.7, 10)).findings
    }
    assert codes == {"overfitting"}
    # An accuracy that did not fall leaves its difference unexplained.
    codes = {
        finding.code for finding in diagnose(with_accuracy(change_accuracy(5)), None, counts(0.998, 0.7, 10)).findings
    }
    assert codes == {"overconfidence", "too_little_data"}


def test_a_rise_after_the_kept_epoch_is_not_blamed_on_the_kept_weights():
    """The kept weights are worse than the last weights and have learned too little; the rise came later."""
    last = compare_last(EPOCHS, BEST, "test", 1000, -0.03, (-0.05, -0.01), 0.01, 0.0, (-0.02, 0.02))
    kept = replace(counts(0.998, 0.7, 10), last=last)
    found = {
        finding.code: finding.severity for finding in diagnose(with_accuracy(change_accuracy(5)), None, kept).findings
    }
    assert found == {"not_converged": "warning", "too_little_data": "warning"}


def test_a_large_gap_during_learning_says_nothing_about_the_data():
    learning = history(falling(10, 0.0, 0.05), falling(10, 0.1, 0.05))
    codes = {finding.code for finding in diagnose(learning, None, counts(0.98, 0.7, 10)).findings}
    assert codes == {"not_converged"}


def test_a_network_that_memorized_its_training_images_does_not_need_more_epochs():
    """Both losses still fall as answers get more certain, but that closes no gap of 30 points."""
    learning = history(falling(10, 0.0, 0.05), falling(10, 0.1, 0.05))
    found = diagnose(learning, None, counts(0.998, 0.7, 10))
    assert found.verdict == "too_little_data"
    assert {finding.code: finding.severity for finding in found.findings} == {
        "too_little_data": "warning",
        "not_converged": "info",
    }
    # A smaller gap may still close: held-out images get better while both losses fall.
    assert diagnose(learning, None, counts(0.998, 0.95, 10)).verdict == "not_converged"


def test_a_network_that_answers_all_images_correctly_does_not_need_more_epochs():
    """Both losses still fall as answers get more certain, but there is no gap to close."""
    learning = history([2 * 0.6**epoch for epoch in range(10)], [2 * 0.65**epoch for epoch in range(10)])
    found = diagnose(learning, None, counts(0.998, 0.985, 10))
    assert found.verdict == "healthy"
    assert {finding.code: finding.severity for finding in found.findings} == {"not_converged": "info"}
    # Training images that are not learned yet, or held-out images that lag behind, may still improve.
    for train, validation in ((0.985, 0.975), (0.998, 0.97)):
        assert diagnose(learning, None, counts(train, validation, 10)).verdict == "not_converged"


def make_settled_history(train: float, validation: float, loss: float) -> History:
    """Make a settled history of another program. loss: of validation in the first epochs."""
    return History(
        fit_loss=tuple(0.4 * loss + 0.6 * loss * 0.6**epoch for epoch in range(20)),
        fit_accuracy=(train / 2, *(train,) * 19),
        validation_loss=tuple(0.5 * loss + 0.5 * loss * 0.6**epoch for epoch in range(20)),
        validation_accuracy=(validation / 2, *(validation,) * 19),
    )


@pytest.mark.parametrize(
    ("curves", "verdict"),
    [
        (make_settled_history(0.998, 0.7, 2.3), "too_little_data"),
        (make_settled_history(0.55, 0.53, 0.69), "cannot_tell"),
        (make_settled_history(0.80, 0.79, 0.69), "cannot_tell"),  # little for two classes
        (make_settled_history(0.80, 0.79, 2.3), "healthy"),  # much for ten classes
        (make_settled_history(0.95, 0.93, 0.69), "healthy"),
    ],
)
def test_a_history_without_counts_is_judged_by_its_accuracies(curves, verdict):
    assert diagnose(curves).verdict == verdict


def test_a_network_that_is_poor_on_all_images_is_not_healthy():
    weak = diagnose(SETTLED, None, counts(0.55, 0.46, 2))
    assert weak.verdict == "cannot_tell"
    assert "55.0% of its training images and 46.0% of the validation images" in weak.explanation
    assert diagnose(SETTLED, None, counts(0.55, 0.54, 2)).verdict == "underfitting"
