"""The guard reports overfitting while a network trains, but no plateau before anything is learned."""

import pytest

from heldout.diagnosis import History, diagnose
from tests.heldout.diagnosis.made import falling, turning
from worker.training.engine.training_policy import CURVES, GuardState, find_explanation, watch_epoch


def watch(mode: str, training: list[float], validation: list[float], accuracy: list[float] = ()) -> GuardState:
    """Return the state after the last epoch or the stop. accuracy: it falls unless it is given."""
    falling_accuracy = [0.9 - 0.01 * epoch for epoch in range(len(training))]
    state = GuardState()
    curves = (training, [0.9] * len(training), validation, accuracy or falling_accuracy)
    for figures in zip(*curves, strict=True):
        state = watch_epoch(mode, state, dict(zip(CURVES, figures, strict=True)))
        if state.stopped:
            break
    return state


@pytest.mark.parametrize("mode", ["stop", "stop_and_restore"])
def test_a_stop_comes_a_few_epochs_after_the_best(mode):
    state = watch(mode, falling(40, 0.001), turning(40))
    assert state.stopped
    assert state.best_epoch < state.seen <= state.best_epoch + 8


def test_a_warning_does_not_stop():
    state = watch("warn", falling(40, 0.001), turning(40))
    assert state.seen
    assert not state.stopped
    worse = dict(zip(CURVES, (0.0, 1.0, 9.9, 0.1), strict=True))
    assert watch_epoch("warn", state, worse).seen == state.seen  # reported only once
    assert watch_epoch("none", GuardState(), worse) == GuardState()


def test_a_plateau_before_anything_is_learned_is_not_overfitting():
    """Both losses change by less than a thousandth of the loss of guessing, and fall later."""
    plateau = [2.3024 - 0.0001 * epoch for epoch in range(12)]
    creeping = [2.3026 + 0.0001 * epoch for epoch in range(12)]
    for mode in ("warn", "stop", "stop_and_restore"):
        assert not watch(mode, plateau + falling(20), creeping + falling(20, 0.3)).seen


def test_a_tiny_rise_of_the_validation_loss_is_not_overfitting():
    """The network is about to learn, and the validation loss has hardly changed yet."""
    creeping = [2.3026 + 0.0002 * epoch for epoch in range(12)]
    assert not watch("stop", [2.3 * 0.99**epoch for epoch in range(12)], creeping).seen


def test_a_rise_while_the_training_loss_stands_still_is_not_overfitting():
    rising = [0.5 - 0.02 * epoch for epoch in range(6)] + [0.4 + 0.02 * epoch for epoch in range(10)]
    standing = [0.5 - 0.02 * epoch for epoch in range(6)] + [0.4] * 10
    assert not watch("stop", standing, rising).seen
    assert watch("stop", [0.5 * 0.9**epoch for epoch in range(16)], rising).stopped


def test_a_rise_within_the_noise_is_not_overfitting():
    up_and_down = [0.9, 0.7, 0.5, 0.7, 0.45, 0.68, 0.52, 0.7, 0.5, 0.69, 0.51, 0.7, 0.5, 0.7]
    assert not watch("stop", falling(14), up_and_down).seen


def test_a_warning_needs_a_certain_rise_and_a_stop_a_large_one():
    """A smooth, slow rise is certain long before it is large. The stop comes at 5% of the loss."""
    rising = [0.3 + 0.7 * 0.5**epoch + 0.002 * max(0, epoch - 8) for epoch in range(40)]
    training = [2.0 * 0.7**epoch for epoch in range(40)]
    warned, stopped = (watch(mode, training, rising) for mode in ("warn", "stop"))
    assert warned.seen < stopped.seen
    assert rising[stopped.seen - 1] > 1.05 * min(rising) > rising[warned.seen - 1]


RISING = [0.3 + 0.7 * 0.5**epoch + 0.02 * max(0, epoch - 8) for epoch in range(40)]
LEARNING = [2.0 * 0.7**epoch for epoch in range(40)]


def test_a_training_whose_accuracy_still_rises_gets_a_warning_and_continues():
    """Its later weights answer better although their loss is higher."""
    improving = [0.4 + 0.01 * epoch for epoch in range(40)]
    assert not watch("stop", LEARNING, RISING, improving).seen
    assert watch("stop", LEARNING, RISING, [0.8] * 40).stopped
    warned = watch("warn", LEARNING, RISING, improving)
    assert warned.seen


def test_a_warning_uses_the_words_of_the_diagnosis_and_a_stop_names_its_effect():
    for accuracy, code in (([0.4 + 0.01 * epoch for epoch in range(40)], "overconfidence"), ([], "overfitting")):
        state = watch("warn", LEARNING, RISING, accuracy)
        finding = diagnose(History(**{name: getattr(state, name) for name in CURVES})).findings[0]
        assert (finding.code, finding.explanation) == (code, find_explanation("warn", state))
    stopped = watch("stop", LEARNING, RISING)
    explanation = find_explanation("stop", stopped)
    assert f"Stopping at epoch {stopped.best_epoch} would have lowered the validation loss" in explanation
    assert "and raised accuracy" in explanation


def test_a_rise_that_is_too_small_to_matter_gives_no_warning():
    small = [0.3 + 0.7 * 0.5**epoch + 0.011 * min(1, max(0, epoch - 8) / 10) for epoch in range(40)]
    assert diagnose(History(train_loss=tuple(LEARNING), validation_loss=tuple(small))).onset_epoch is not None
    assert not watch("warn", LEARNING, small, [0.8] * 40).seen
