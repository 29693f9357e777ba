"""Trainings that were done before their study: which are paired, and which half of them chooses. Pure.

Both follow from the names and seeds of the runs alone, before any figure is read.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from analysis.studies.state import Purpose, RecordedRun, Recording, RunKey
from heldout.studies.spec import BASE_ARM

# Fewer runs show no spread.
FEWEST_RUNS = 2

Runs = Mapping[str, Sequence[RecordedRun]]


class Matched(NamedTuple):
    """Places of the runs of an arm and of the base that are compared; if paired, those of one seed at one place."""

    own: tuple[int, ...]
    base: tuple[int, ...]
    is_paired: bool


def match_runs(runs: Runs, arm: str) -> Matched:
    """Pair the runs of an arm with the base's by seed, if at least half of the smaller arm have a counterpart.

    Otherwise all of them are compared, unpaired.
    """
    own, base = runs[arm], runs[BASE_ARM]
    places = {run.seed: place for place, run in enumerate(base) if run.seed is not None}
    shared = sorted((run.seed, place) for place, run in enumerate(own) if run.seed in places and run.seed is not None)
    if len(shared) >= FEWEST_RUNS and 2 * len(shared) >= min(len(own), len(base)):
        return Matched(tuple(place for _, place in shared), tuple(places[seed] for seed, _ in shared), True)
    return Matched(tuple(range(len(own))), tuple(range(len(base))), False)


def draw_choosing_units(runs: Runs) -> tuple[str, ...]:
    """Draw by lot the half that chooses; the rest confirms.

    A unit is a seed, with all of its runs, or a run whose seed is unknown. The lot is a hash of its name, so that the
    same runs always get the same lot: no one can draw again until an answer suits them. Units that the same arms have
    are halved among themselves, so that each arm has runs in both halves.
    """
    arms_of_unit: dict[str, list[str]] = {}
    for arm, of_arm in runs.items():
        for place, run in enumerate(of_arm):
            arms_of_unit.setdefault(name_unit(arm, place, run), []).append(arm)
    alike: dict[tuple[str, ...], list[str]] = {}
    for unit, arms in arms_of_unit.items():
        alike.setdefault(tuple(arms), []).append(unit)
    chosen: list[str] = []
    for units in alike.values():
        chosen += sorted(units, key=lambda unit: hashlib.sha256(unit.encode()).digest())[: len(units) // 2]
    return tuple(unit for unit in arms_of_unit if unit in set(chosen))


def name_unit(arm: str, place: int, run: RecordedRun) -> str:
    """Return the name of what one lot is drawn for: `seed 3`, or the name of a run without a seed."""
    return f"{arm} {run.name or place}" if run.seed is None else f"seed {run.seed}"


def take_half(recording: Recording, arm: str, matched: Matched, *, chooses: bool) -> Matched:
    """Return those of the compared runs that are in one half."""
    half = set(recording.chooses)

    def select(name: str, places: Sequence[int]) -> tuple[int, ...]:
        of_arm = recording.runs[name]
        return tuple(place for place in places if (name_unit(name, place, of_arm[place]) in half) == chooses)

    return Matched(select(arm, matched.own), select(BASE_ARM, matched.base), matched.is_paired)


def list_run_keys(recording: Recording) -> dict[str, list[RunKey]]:
    """Return the keys of all trainings, by arm. The seed of a run without one is its place, if no run has one."""
    keys: dict[str, list[RunKey]] = {}
    for arm, runs in recording.runs.items():
        has_seeds = all(run.seed is not None for run in runs)
        seeds = [place if run.seed is None or not has_seeds else run.seed for place, run in enumerate(runs)]
        keys[arm] = [RunKey(arm, Purpose.RACE, seed) for seed in seeds]
    return keys
