"""Decides whose job is claimed next, and how places and room for large jobs are shared among owners. Pure.

An owner's use is counted in slot-seconds, which decay by half in each half-life. The owner with the least use for its
weight comes first; among one owner's jobs the priority decides. All kinds of work in slots count equally.
"""

from dataclasses import dataclass, replace
from math import log2

# The half-life of use. An owner that had an idle service for a night is on a par with others after some hours.
HALF_LIFE_S = 3600.0
# Seconds that are charged at a claim, so that slots that become free together go to several owners. A job that ends
# sooner gets the rest back; one that runs longer is charged while it runs.
CLAIM_CHARGE_S = 60.0
# Running jobs are charged when this much of their time is not charged yet.
CHARGE_EVERY_S = 60.0
# Use below this counts as none.
NEGLIGIBLE_SLOT_S = 1e-3
# The turn of an owner without use: before all others.
FIRST_TURN = 0.0
MIN_WEIGHT, MAX_WEIGHT = 0.01, 100.0
# Checks of uploads and similar work take at most this share of a worker's slots, but at least one.
MAX_SHARE_OF_CHECKS = 0.5


@dataclass(frozen=True)
class OwnerStanding:
    """An owner's recent use, in slot-seconds as of the moment `at_s`, in seconds since 1970.

    weight: the owner's share of the slots relative to others; 2 is twice that of 1.
    """

    weight: float = 1.0
    used_slot_s: float = 0.0
    at_s: float = 0.0


def compute_used(standing: OwnerStanding, now_s: float) -> float:
    """Return the slot-seconds as of that moment."""
    # A clock that was set back does not increase them.
    return float(standing.used_slot_s * 2.0 ** (-max(0.0, now_s - standing.at_s) / HALF_LIFE_S))


def add_charge(standing: OwnerStanding, slot_s: float, now_s: float) -> OwnerStanding:
    """Return the standing with slot-seconds added; negative ones are refunds."""
    used = max(0.0, compute_used(standing, now_s) + slot_s)
    return replace(standing, used_slot_s=used, at_s=max(now_s, standing.at_s))


def compute_turn(standing: OwnerStanding) -> float:
    """Return the sort key of owners, smallest first.

    It does not change while nothing is charged, because all decay equally. It is the logarithm of `used / weight ·
    2^(at / half-life)`.
    """
    used = standing.used_slot_s / standing.weight
    return FIRST_TURN if used < NEGLIGIBLE_SLOT_S else log2(used) + standing.at_s / HALF_LIFE_S


def count_slots(gpus: int) -> int:
    """Return how many slots a job counts as: one per GPU that it needs, and one without any."""
    return max(1, gpus)


def charge_while_running(charged_s: float, elapsed_s: float) -> float:
    """Return the seconds to charge a running attempt. charged_s: the part of its `elapsed_s` already charged."""
    return max(CLAIM_CHARGE_S, elapsed_s) - max(CLAIM_CHARGE_S, charged_s)


def charge_at_end(charged_s: float, elapsed_s: float) -> float:
    """Return the seconds to charge an attempt that has ended; negative if its claim was charged more than it took."""
    return elapsed_s - max(CLAIM_CHARGE_S, charged_s)


def count_checks_at_once(slots: int) -> int:
    """Return how many checks a worker with this many slots runs at once."""
    return max(1, int(slots * MAX_SHARE_OF_CHECKS))


def has_room(own: int, free: int, limit_per_owner: int) -> bool:
    """Return whether an owner with `own` places may take one of the `free` ones.

    The fewer places are free, the fewer an owner may have. So it takes many greedy owners to fill the last ones, and an
    owner without a place gets one while there is one.
    """
    return own < min(limit_per_owner, free)


# How long a job that is next waits before smaller ones behind it are held back for it.
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Resources:
    """The resources of a job or a worker: bytes of memory, and whole GPUs."""

    memory_bytes: int = 0
    gpus: int = 0

    def holds(self, other: "Resources") -> bool:
        """Return whether the other fits into this."""
        return other.memory_bytes <= self.memory_bytes and other.gpus <= self.gpus


def is_held_up(needed: Resources, free: Resources, waited_s: float) -> bool:
    """Return whether a worker should make room for the next job."""
    return waited_s >= PATIENCE_S and not free.holds(needed)


def compute_left_beside(
    needed: Resources, total: Resources, free: Resources, begun_since: Resources
) -> Resources | None:
    """Return what a smaller job may take now without delaying the large one; None if none may begin.

    Jobs that ran before will end. All jobs that begin while room is made must fit together with the large job.

    Args:
        needed: by the large job. Because estimates have a margin, it may be more memory than the worker has; the job
        then runs alone.
        begun_since: the resources of jobs that began on the worker since it started making room.
    """
    memory_bytes = total.memory_bytes - needed.memory_bytes - begun_since.memory_bytes
    gpus = total.gpus - needed.gpus - begun_since.gpus
    if memory_bytes < 0 or gpus < 0:
        return None
    return Resources(min(memory_bytes, free.memory_bytes), min(gpus, free.gpus))
