"""Estimates how long jobs take, from earlier trainings, and when a queued job starts. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapify, heappop, heappush, heapreplace
from statistics import mean, median

from analysis.scheduling.fair_share import CLAIM_CHARGE_S, OwnerStanding, add_charge, compute_turn

# Seconds of a training outside its epochs, half before the first and half after the last, until one has ended.
ASSUMED_AROUND_EPOCHS_S = 2.0
# The assumed duration of a job that cannot be estimated.
ASSUMED_RUNTIME_S = 10.0
# The most claims that are simulated; later ones are extrapolated at the same pace.
MAX_CLAIMS = 10_000


@dataclass(frozen=True)
class EndedJob:
    """A training that has succeeded, in seconds.

    taken_s: from its claim to its end. epochs_s: of its epochs, as measured. expected_s: of its epochs by the cost
    model, None if unknown.
    """

    taken_s: float
    epochs_s: float
    expected_s: float | None


@dataclass(frozen=True)
class TrainingPace:
    """How trainings here differ from the estimated time of their epochs.

    around_epochs_s: seconds that a training takes outside its epochs. slowness: seconds per estimated second of an
    epoch, more than 1 if jobs share cores. runtime_s: of a whole job about which nothing is known.
    """

    around_epochs_s: float = ASSUMED_AROUND_EPOCHS_S
    slowness: float = 1.0
    runtime_s: float = ASSUMED_RUNTIME_S

    def duration_s(self, epochs_s: float | None) -> float:
        """Return the seconds from claim to end. epochs_s: of all epochs by the cost model; None if unknown."""
        return self.runtime_s if epochs_s is None else self.around_epochs_s + self.slowness * epochs_s


def compute_pace(ended: Sequence[EndedJob]) -> TrainingPace:
    """Return the median pace of trainings that have ended; the default without any."""
    if not ended:
        return TrainingPace()
    ratios = [job.epochs_s / job.expected_s for job in ended if job.expected_s and job.epochs_s]
    return TrainingPace(
        around_epochs_s=median(max(0.0, job.taken_s - job.epochs_s) for job in ended),
        slowness=median(ratios) if ratios else 1.0,
        runtime_s=median(job.taken_s for job in ended),
    )


def estimate_remaining_s(pace: TrainingPace, epochs_s: float | None, elapsed_s: float, eta_s: float | None) -> float:
    """Return the seconds that a running job has left.

    Args:
        epochs_s: as for `Pace.duration_s`.
        eta_s: of its remaining epochs, as it measures them itself; null before its first one.
    """
    if eta_s is not None:
        return eta_s + pace.around_epochs_s / 2
    return max(0.0, pace.duration_s(epochs_s) - elapsed_s)


def count_most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """Return the largest number of these spans, from start to end, that overlap."""
    # At the same moment ends come first: a slot's next job may start just then.
    steps = sorted(step for begin, end in spans for step in ((begin, 1), (end, -1)))
    most = now = 0
    for _, change in steps:
        now += change
        most = max(most, now)
    return most


@dataclass(frozen=True)
class OwnersQueue:
    """One owner's queue: the number of `jobs`, and the `durations_s` of those claimed first.

    Later ones take the average of these.

    Args:
        most_running: how many of its jobs may run at once; None for any number.
        held_s: seconds until any of them may begin, because its slot-seconds of the day are used up.
    """

    standing: OwnerStanding
    jobs: int
    durations_s: Sequence[float] = ()
    most_running: int | None = None
    held_s: float = 0.0

    def duration_s(self, place: int) -> float:
        """Return the seconds of the job at that position, from 0."""
        return self.durations_s[place] if place < len(self.durations_s) else self._usual_s

    @cached_property
    def _usual_s(self) -> float:
        return mean(self.durations_s) if self.durations_s else ASSUMED_RUNTIME_S


@dataclass(frozen=True)
class RunningJob:
    """A job in a slot: when it ends and when it began, in seconds from now, and the owner's charge for it."""

    ends_s: float
    begins_s: float
    owner: str
    charged_s: float = 0.0


def estimate_seconds_until_start(
    running: Sequence[RunningJob], owner: str, queues: Mapping[str, OwnersQueue], *, slots: int = 0, now_s: float = 0.0
) -> float | None:
    """Return the seconds until a job starts in one of the workers' slots.

    The claims before it are simulated in the order of `fair_share`, but each is charged in full when it is made. So an
    owner's turn changes only with its own claims, however long its jobs run.

    Args:
        owner: the job's owner; `jobs` of this owner's queue are claimed before it.
        queues: of all owners with waiting jobs, and of this one.
        slots: the least number of slots; those without a running job are free now.
        now_s: in seconds since 1970, as in the standings.
    Returns:
        None if there is no slot, because it is unknown when a worker will start; or if the owner may not have a running
        job.
    """
    own = queues[owner]
    free_at = [job.ends_s for job in running] + [0.0] * (slots - len(running))
    if not free_at or own.most_running == 0:
        return None
    heapify(free_at)
    standings = {name: queue.standing for name, queue in queues.items()}
    claimed = dict.fromkeys(queues, 0)
    ends_of: dict[str, list[float]] = defaultdict(list)
    for job in running:
        heappush(ends_of[job.owner], job.ends_s)
        if job.owner in queues:
            not_charged_s = job.ends_s - job.begins_s - max(CLAIM_CHARGE_S, job.charged_s)
            standings[job.owner] = add_charge(standings[job.owner], not_charged_s, now_s)
    # Owners by the moment from which their next job may begin, and those that need not wait, by turn.
    later: list[tuple[float, str]] = []
    turns: list[tuple[float, str]] = []

    def queue_up(name: str) -> None:
        queue, ends = queues[name], ends_of[name]
        if queue.most_running == 0 or (name != owner and claimed[name] == queue.jobs):
            return
        from_s = queue.held_s
        while queue.most_running is not None and len(ends) >= queue.most_running:
            from_s = max(from_s, heappop(ends))
        heappush(later, (from_s, name))

    for name in queues:
        queue_up(name)
    at_s = 0.0
    for _ in range(MAX_CLAIMS):
        while not turns and free_at[0] < later[0][0]:
            heapreplace(free_at, later[0][0])
        at_s = free_at[0]
        while later and later[0][0] <= at_s:
            _, name = heappop(later)
            heappush(turns, (compute_turn(standings[name]), name))
        _, name = heappop(turns)
        if name == owner and claimed[name] == own.jobs:
            return at_s
        duration_s = queues[name].duration_s(claimed[name])
        heapreplace(free_at, at_s + duration_s)
        heappush(ends_of[name], at_s + duration_s)
        claimed[name] += 1
        standings[name] = add_charge(standings[name], duration_s, now_s + at_s)
        queue_up(name)
    return max(own.held_s, at_s * (own.jobs + 1) / (claimed[owner] + 1))
