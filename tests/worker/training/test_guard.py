"""When the guard speaks while a network trains: of overfitting, and not of a plateau before anything is learned."""

import pytest

from heldout.diagnosis import History, diagnose
from tests.heldout.diagnosis.made import falling, turning
from worker.training.decisions import CURVES, GuardState, find_explanation, watch_epoch


def watched(mode: str, training: list[float], validation: list[float], accuracy: list[float] = ()) -> GuardState:
    """The state after the last epoch, or after that in which it stopped; accuracy falls unless it is given."""
    falling_accuracy = [0.9 - 0.01 * epoch for epoch in range(len(training))]
    state = GuardState()
    curves = (training, [0.9] * len(training), validation, accuracy or falling_accuracy)
    for figures in zip(*curves, strict=True):
        state = watch_epoch(mode, state, dict(zip(CURVES, figures, strict=True)))
        if state.stopped:
            break
    return state


@pytest.mark.parametrize("mode", ["stop", "stop_and_restore"])
def test_a_stop_comes_some_epochs_after_the_best_one(mode):
    state = watched(mode, falling(40, 0.001), turning(40))
    assert state.stopped
    assert state.best_epoch < state.seen <= state.best_epoch + 8


def test_a_warning_is_no_stop():
    state = watched("warn", falling(40, 0.001), turning(40))
    assert state.seen
    assert not state.stopped
    worse = dict(zip(CURVES, (0.0, 1.0, 9.9, 0.1), strict=True))
    assert watch_epoch("warn", state, worse).seen == state.seen  # it is reported once
    assert watch_epoch("none", GuardState(), worse) == GuardState()


def test_a_plateau_before_anything_is_learned_is_not_the_end():
    """Both losses move by less than a thousandth of what guessing costs; the descent comes later."""
    plateau = [2.3024 - 0.0001 * epoch for epoch in range(12)]
    creeping = [2.3026 + 0.0001 * epoch for epoch in range(12)]
    for mode in ("warn", "stop", "stop_and_restore"):
        assert not watched(mode, plateau + falling(20), creeping + falling(20, 0.3)).seen


def test_what_creeps_up_by_a_trifle_of_the_loss_is_not_the_end():
    """Training is about to learn; validation has hardly moved, and has no way of its own to measure by."""
    creeping = [2.3026 + 0.0002 * epoch for epoch in range(12)]
    assert not watched("stop", [2.3 * 0.99**epoch for epoch in range(12)], creeping).seen


def test_what_rises_without_learning_is_not_the_end():
    rising = [0.5 - 0.02 * epoch for epoch in range(6)] + [0.4 + 0.02 * epoch for epoch in range(10)]
    standing = [0.5 - 0.02 * epoch for epoch in range(6)] + [0.4] * 10
    assert not watched("stop", standing, rising).seen
    assert watched("stop", [0.5 * 0.9**epoch for epoch in range(16)], rising).stopped


def test_a_level_that_is_above_its_lowest_by_less_than_its_noise_is_not_the_end():
    up_and_down = [0.9, 0.7, 0.5, 0.7, 0.45, 0.68, 0.52, 0.7, 0.5, 0.69, 0.51, 0.7, 0.5, 0.7]
    assert not watched("stop", falling(14), up_and_down).seen


def test_a_stop_waits_for_a_rise_from_which_few_come_back_and_a_warning_for_proof():
    """A smooth and slow rise is proven long before it is large; by five hundredths of the loss the stop comes."""
    rising = [0.3 + 0.7 * 0.5**epoch + 0.002 * max(0, epoch - 8) for epoch in range(40)]
    training = [2.0 * 0.7**epoch for epoch in range(40)]
    warned, stopped = (watched(mode, training, rising) for mode in ("warn", "stop"))
    assert warned.seen < stopped.seen
    assert rising[stopped.seen - 1] > 1.05 * min(rising) > rising[warned.seen - 1]


RISING = [0.3 + 0.7 * 0.5**epoch + 0.02 * max(0, epoch - 8) for epoch in range(40)]
LEARNING = [2.0 * 0.7**epoch for epoch in range(40)]


def test_a_training_whose_accuracy_still_rises_is_warned_of_and_continues():
    """Its later weights answer better, though their loss is higher."""
    improving = [0.4 + 0.01 * epoch for epoch in range(40)]
    assert not watched("stop", LEARNING, RISING, improving).seen
    assert watched("stop", LEARNING, RISING, [0.8] * 40).stopped
    warned = watched("warn", LEARNING, RISING, improving)
    assert warned.seen


def test_a_warning_says_what_the_diagnosis_would_say_and_a_stop_what_it_changes():
    for accuracy, code in (([0.4 + 0.01 * epoch for epoch in range(40)], "overconfidence"), ([], "overfitting")):
        state = watched("warn", LEARNING, RISING, accuracy)
        finding = diagnose(History(**{name: getattr(state, name) for name in CURVES})).findings[0]
        assert (finding.code, finding.explanation) == (code, find_explanation("warn", state))
    stopped = watched("stop", LEARNING, RISING)
    said = find_explanation("stop", stopped)
    assert f"Stopping at epoch {stopped.best_epoch} would have lowered the validation loss" in said
    assert "and raised accuracy" in said


def test_a_rise_that_is_too_small_to_matter_is_not_warned_of():
    small = [0.3 + 0.7 * 0.5**epoch + 0.011 * min(1, max(0, epoch - 8) / 10) for epoch in range(40)]
    assert diagnose(History(train_loss=tuple(LEARNING), validation_loss=tuple(small))).onset_epoch is not None
    assert not watched("warn", LEARNING, small, [0.8] * 40).seen
