"""Calls of a training grow until they take half a second."""

import pytest

from worker.training.engine.training_policy import CALL_S, SteadySteps, StepPace


def list_calls(step_s: float, trace_s: float = 3.0, count: int = 12) -> list[int]:
    """List the steps of each call, if every step takes `step_s`."""
    pace, taken = StepPace(), []
    for call in range(count):
        taken.append(pace.steps)
        pace = pace.after(pace.steps, pace.steps * step_s + (trace_s if call == 0 else 0))
    return taken


def test_the_first_call_is_one_step_so_that_it_ends_soon():
    assert list_calls(0.004)[0] == 1


@pytest.mark.parametrize("step_s", [0.0001, 0.004, 0.1])
def test_calls_come_to_take_half_a_second_no_matter_how_long_tracing_took(step_s):
    assert list_calls(step_s)[-1] * step_s == pytest.approx(CALL_S, rel=0.01)


def test_no_earlier_call_takes_longer():
    assert all(steps * 0.01 <= CALL_S for steps in list_calls(0.01))


def test_steps_longer_than_half_a_second_are_taken_one_by_one():
    assert list_calls(2.0)[2:] == [1] * 10


def test_the_time_of_tracing_is_not_part_of_the_time_of_an_epoch():
    """An epoch has 100 steps of 10 ms, of which the first took 3 s. The next epoch takes 1 s instead of 4 s."""
    pace, steady, seconds = StepPace(), SteadySteps(), 0.0
    for steps, call_s in ((1, 3.0), (4, 0.04), (95, 0.95)):
        steady, pace, seconds = steady.after(pace, steps, call_s), pace.after(steps, call_s), seconds + call_s
    assert steady.epoch_s(100, seconds) == pytest.approx(1.0)
    assert SteadySteps().epoch_s(1, seconds) == seconds, "an epoch of a single call takes the measured time"
