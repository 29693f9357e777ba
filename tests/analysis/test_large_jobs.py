"""A large job behind many small ones, simulated."""

from dataclasses import dataclass, field

import pytest

from analysis.scheduling.fair_share import PATIENCE_S, Resources, compute_left_beside, is_held_up

LASTS_S = 60.0  # each small job; one of them ends every twelve seconds
HOUR_S = 3600.0
SMALL = Resources(2)
TOTAL = Resources(10)
WHILE_NOTHING_RUNS = Resources(12)  # with the margin of estimates


@dataclass
class Worker:
    """Ten places, two for each small job: five run, and there is always one more that waits."""

    makes_room: bool
    at_s: float = 0.0
    # When each began, and ends.
    running: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 12.0 * (1 + n)) for n in range(5)])
    begun_beside: int = 0

    def started_s(self, needed: Resources) -> float | None:
        """When a large job starts which is submitted now, and whose turn is the next; None: not within an hour."""
        room_since_s: float | None = None
        while self.at_s < HOUR_S:
            self.running = [one for one in self.running if one[1] > self.at_s]
            left_over = Resources(TOTAL.memory_bytes - SMALL.memory_bytes * len(self.running))
            free = left_over if self.running else WHILE_NOTHING_RUNS
            if free.holds(needed):
                return self.at_s
            if self.makes_room and is_held_up(needed, free, self.at_s):
                room_since_s = self.at_s if room_since_s is None else room_since_s
                since = [one for one in self.running if one[0] >= room_since_s]
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
def test_a_large_job_that_has_waited_long_starts_once_what_ran_before_has_ended(needed):
    assert Worker(makes_room=False).started_s(needed) is None, "small ones took each place that became free"
    started_s = Worker(makes_room=True).started_s(needed)
    assert started_s is not None
    assert PATIENCE_S <= started_s <= PATIENCE_S + LASTS_S


def test_small_jobs_continue_next_to_the_place_of_the_large_one():
    worker = Worker(makes_room=True)
    assert worker.started_s(Resources(6)) is not None
    assert worker.begun_beside >= 2
    alone = Worker(makes_room=True)
    assert alone.started_s(TOTAL) is not None
    assert alone.begun_beside == 0


def test_what_begins_while_room_is_made_fits_next_to_the_large_job_all_together():
    needed, total, free = Resources(6, 2), Resources(10, 4), Resources(5, 3)
    assert compute_left_beside(needed, total, free, Resources()) == Resources(4, 2)
    assert compute_left_beside(needed, total, free, Resources(3, 1)) == Resources(1, 1)
    assert compute_left_beside(needed, total, Resources(1, 3), Resources()) == Resources(1, 2)
    assert compute_left_beside(needed, total, free, Resources(4, 2)) == Resources(0, 0)


def test_nothing_begins_next_to_a_job_that_needs_all_there_is_and_more():
    assert compute_left_beside(Resources(12), Resources(10), Resources(5), Resources()) is None
    assert compute_left_beside(Resources(1, 4), Resources(10, 4), Resources(5, 0), Resources(0, 1)) is None


def test_no_one_is_held_up_for_a_job_that_fits_or_has_just_come():
    needed, free = Resources(6, 1), Resources(5, 1)
    assert is_held_up(needed, free, PATIENCE_S)
    assert not is_held_up(needed, free, PATIENCE_S - 1)
    assert not is_held_up(needed, Resources(6, 1), PATIENCE_S)
    assert is_held_up(needed, Resources(6, 0), PATIENCE_S)
