"""Calls of a training grow to half a second and no further."""

import pytest

from worker.training.decisions import CALL_S, SteadySteps, StepPace


def calls(step_s: float, trace_s: float = 3.0, count: int = 12) -> list[int]:
    """The steps of each call where one step always takes `step_s`."""
    pace, taken = StepPace(), []
    for call in range(count):
        taken.append(pace.steps)
        pace = pace.after(pace.steps, pace.steps * step_s + (trace_s if call == 0 else 0))
    return taken


def test_the_first_call_is_one_step_so_that_its_end_is_heard_soon():
    assert calls(0.004)[0] == 1


@pytest.mark.parametrize("step_s", [0.0001, 0.004, 0.1])
def test_calls_come_to_last_half_a_second_whatever_tracing_took(step_s):
    assert calls(step_s)[-1] * step_s == pytest.approx(CALL_S, rel=0.01)


def test_no_call_lasts_longer_than_it_should_on_the_way_there():
    assert all(steps * 0.01 <= CALL_S for steps in calls(0.01))


def test_steps_longer_than_half_a_second_are_taken_one_by_one():
    assert calls(2.0)[2:] == [1] * 10


def test_an_epoch_that_traced_is_recognized_by_its_other_steps():
    """100 steps of 10 ms after one that took 3 s: an epoch like it takes a second, not four."""
    pace, steady, seconds = StepPace(), SteadySteps(), 0.0
    for steps, call_s in ((1, 3.0), (4, 0.04), (95, 0.95)):
        steady, pace, seconds = steady.after(pace, steps, call_s), pace.after(steps, call_s), seconds + call_s
    assert steady.epoch_s(100, seconds) == pytest.approx(1.0)
    assert SteadySteps().epoch_s(1, seconds) == seconds, "an epoch of one call is known as it was measured"
