"""Whose job is claimed next: owners share the slots by their weights and by what they have used lately. Pure.

What an owner has used is counted in slot-seconds, and counts half after each half-life. The owner that has used least
for its weight comes first; among the jobs of one owner the priority decides. All kinds of work in slots count alike.
"""

from dataclasses import dataclass, replace
from math import log2

# What was used so long ago counts half. Whoever had an idle service for a night is on a par again after some hours.
HALF_LIFE_S = 3600.0
# Seconds that a claim counts at once, so that the slots which are free at one moment go to several owners. A job that
# ends sooner gets the rest back; one that runs longer is charged as it goes on.
CLAIM_CHARGE_S = 60.0
# Running jobs are charged when so much of their time is not charged yet.
CHARGE_EVERY_S = 60.0
# Less than this is as good as nothing used.
NEGLIGIBLE_SLOT_S = 1e-3
# The turn of an owner that has used nothing: before all others.
FIRST_TURN = 0.0
MIN_WEIGHT, MAX_WEIGHT = 0.01, 100.0
# Checks of uploads and the like take at most this share of a worker's slots, and at least one.
MAX_SHARE_OF_CHECKS = 0.5


@dataclass(frozen=True)
class OwnerStanding:
    """What an owner has used lately, in slot-seconds as they counted at the moment `at_s`, in seconds since 1970.

    weight: the share of the slots that the owner has beside others; 2 is twice that of 1.
    """

    weight: float = 1.0
    used_slot_s: float = 0.0
    at_s: float = 0.0


def compute_used(standing: OwnerStanding, now_s: float) -> float:
    """Slot-seconds as they count at that moment."""
    # A clock that was set back does not make them more.
    return float(standing.used_slot_s * 2.0 ** (-max(0.0, now_s - standing.at_s) / HALF_LIFE_S))


def add_charge(standing: OwnerStanding, slot_s: float, now_s: float) -> OwnerStanding:
    """The standing with slot-seconds added; negative ones are given back."""
    used = max(0.0, compute_used(standing, now_s) + slot_s)
    return replace(standing, used_slot_s=used, at_s=max(now_s, standing.at_s))


def compute_turn(standing: OwnerStanding) -> float:
    """What owners are sorted by, smallest first.

    It does not change while nothing is charged, since all decay alike: `used / weight · 2^(at / half-life)`, of which
    this is the logarithm.
    """
    used = standing.used_slot_s / standing.weight
    return FIRST_TURN if used < NEGLIGIBLE_SLOT_S else log2(used) + standing.at_s / HALF_LIFE_S


def count_slots(gpus: int) -> int:
    """How many slots a job counts as: those of the GPUs that it needs, and one without any."""
    return max(1, gpus)


def charge_while_running(charged_s: float, elapsed_s: float) -> float:
    """Seconds to charge an attempt that goes on. charged_s: what was charged of its `elapsed_s` before."""
    return max(CLAIM_CHARGE_S, elapsed_s) - max(CLAIM_CHARGE_S, charged_s)


def charge_at_end(charged_s: float, elapsed_s: float) -> float:
    """Seconds to charge an attempt that has ended; negative where its claim was charged more than it took."""
    return elapsed_s - max(CLAIM_CHARGE_S, charged_s)


def count_checks_at_once(slots: int) -> int:
    """How many checks a worker with so many slots runs at once."""
    return max(1, int(slots * MAX_SHARE_OF_CHECKS))
