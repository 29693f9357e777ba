"""The model of waiting jobs agrees with textbook values and with a simulated queue."""

from fractions import Fraction
from math import factorial

import numpy as np
import pytest

from benchmarks.queueing import mean_wait_s, probability_of_waiting, waits_of


@pytest.mark.parametrize(
    ("load", "slots", "expected"),
    [
        (0.5, 1, 0.5),  # one slot: the share of time that it is busy
        (2, 3, 4 / 9),  # Gross and Harris, from the definition: (8/6·3) / (1 + 2 + 2 + 4)
        (8, 10, 0.4092),  # Erlang's tables
    ],
)
def test_the_share_of_waiting_jobs_equals_erlang_s_tables(load: float, slots: int, expected: float) -> None:
    assert probability_of_waiting(load, slots) == pytest.approx(expected, abs=5e-5)


def test_the_share_of_waiting_jobs_is_exact_for_hundreds_of_slots() -> None:
    load, slots = 290, 300
    unlike_last = sum(Fraction(load**n, factorial(n)) for n in range(slots))
    last = Fraction(load**slots, factorial(slots)) * Fraction(slots, slots - load)
    assert probability_of_waiting(load, slots) == pytest.approx(float(last / (unlike_last + last)), rel=1e-9)


def test_the_wait_for_one_slot_follows_the_pollaczek_khinchine_formula() -> None:
    assert mean_wait_s(0.5, 1, 1) == pytest.approx(1.0)  # ρ / (μ − λ)
    assert mean_wait_s(0.5, 1, 1, spread=0) == pytest.approx(0.5)  # lengths all the same: half of that
    assert mean_wait_s(0.8, 1, 1, spread=2) == pytest.approx(0.8 * 3 / (2 * 0.2))


@pytest.mark.parametrize(("slots", "use", "sides"), [(2, 0.7, 8), (4, 0.85, 2), (8, 0.9, 8)])
def test_the_wait_for_several_slots_agrees_with_a_simulated_queue(slots: int, use: float, sides: float) -> None:
    random = np.random.default_rng(slots)
    arrivals = np.cumsum(random.exponential(1 / (slots * use), 200_000))
    simulated = np.mean(waits_of(arrivals.tolist(), random.gamma(sides, 1 / sides, 200_000).tolist(), slots))
    assert mean_wait_s(slots * use, 1, slots, spread=1 / sides) == pytest.approx(simulated, rel=0.08)


def test_a_queue_with_too_few_slots_has_no_mean_wait() -> None:
    with pytest.raises(ValueError, match="cannot carry a load of 3"):
        mean_wait_s(3, 1, 3)
