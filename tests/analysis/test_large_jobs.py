"""A large job behind many small ones, simulated."""

from dataclasses import dataclass, field

import pytest

from analysis.scheduling.fair_share import PATIENCE_S, Resources, compute_left_beside, is_held_up

LASTS_S = 60.0  # each small job; one ends every twelve seconds
HOUR_S = 3600.0
SMALL = Resources(2)
TOTAL = Resources(10)
WHILE_NOTHING_RUNS = Resources(12)  # with the margin of estimates


@dataclass
class Worker:
    """Ten places, two per small job: five jobs run, and another always waits."""

    makes_room: bool
    at_s: float = 0.0
    # When each began, and ends.
    running: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 12.0 * (1 + n)) for n in range(5)])
    begun_beside: int = 0

    def find_start_s(self, needed: Resources) -> float | None:
        """Return when a large job starts that is submitted now and is next in turn, or None if not within an hour."""
        room_since_s: float | None = None
        while self.at_s < HOUR_S:
            self.running = [job for job in self.running if job[1] > self.at_s]
            left_over = Resources(TOTAL.memory_bytes - SMALL.memory_bytes * len(self.running))
            free = left_over if self.running else WHILE_NOTHING_RUNS
            if free.holds(needed):
                return self.at_s
            if self.makes_room and is_held_up(needed, free, self.at_s):
                room_since_s = self.at_s if room_since_s is None else room_since_s
                since = [job for job in self.running if job[0] >= room_since_s]
                left = compute_left_beside(needed, TOTAL, free, Resources(SMALL.memory_bytes * len(since)))
            else:
                left = free
            if left is not None and left.holds(SMALL):
                self.running.append((self.at_s, self.at_s + LASTS_S))
                self.begun_beside += room_since_s is not None
            else:
                self.at_s += 1.0
        return None


@pytest.mark.parametrize("needed", [Resources(6), TOTAL, WHILE_NOTHING_RUNS])
def test_a_large_job_that_has_waited_long_starts_once_earlier_jobs_have_ended(needed):
    assert Worker(makes_room=False).find_start_s(needed) is None, "small jobs took each place that became free"
    start_s = Worker(makes_room=True).find_start_s(needed)
    assert start_s is not None
    assert PATIENCE_S <= start_s <= PATIENCE_S + LASTS_S


def test_small_jobs_continue_next_to_the_room_for_the_large_job():
    worker = Worker(makes_room=True)
    assert worker.find_start_s(Resources(6)) is not None
    assert worker.begun_beside >= 2
    alone = Worker(makes_room=True)
    assert alone.find_start_s(TOTAL) is not None
    assert alone.begun_beside == 0


def test_jobs_that_start_while_room_is_made_fit_together_next_to_the_large_job():
    needed, total, free = Resources(6, 2), Resources(10, 4), Resources(5, 3)
    assert compute_left_beside(needed, total, free, Resources()) == Resources(4, 2)
    assert compute_left_beside(needed, total, free, Resources(3, 1)) == Resources(1, 1)
    assert compute_left_beside(needed, total, Resources(1, 3), Resources()) == Resources(1, 2)
    assert compute_left_beside(needed, total, free, Resources(4, 2)) == Resources(0, 0)


def test_nothing_starts_next_to_a_job_that_needs_everything():
    assert compute_left_beside(Resources(12), Resources(10), Resources(5), Resources()) is None
    assert compute_left_beside(Resources(1, 4), Resources(10, 4), Resources(5, 0), Resources(0, 1)) is None


def test_no_job_is_held_up_for_one_that_fits_or_has_just_arrived():
    needed, free = Resources(6, 1), Resources(5, 1)
    assert is_held_up(needed, free, PATIENCE_S)
    assert not is_held_up(needed, free, PATIENCE_S - 1)
    assert not is_held_up(needed, Resources(6, 1), PATIENCE_S)
    assert is_held_up(needed, Resources(6, 0), PATIENCE_S)
