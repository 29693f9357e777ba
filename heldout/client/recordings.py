"""Recorded runs as the body of a study, and which answers belong to which of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

# A file of answers, `{split: {what: values}}`, or a final figure.
Recorded = Path | str | Mapping[str, Mapping[str, object]] | float

_SEED = re.compile(r"seed[-_=]?(\d+)", re.IGNORECASE)
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


@dataclass(frozen=True)
class NamedRun:
    """A run of an arm. seed: None if it is unknown."""

    name: str
    seed: int | None
    recorded: Recorded


OfArm = Mapping[int, Recorded] | Sequence[Recorded] | Sequence[NamedRun]
Arms = Mapping[str, OfArm]


def name_runs(arm: str, given: OfArm) -> list[NamedRun]:
    """Name the runs of an arm that have no names yet, and find their seeds.

    Seeds are the keys of a mapping, or numbers in the names of files. In a list, last numbers count only if every run
    has its own. What is called `seed` counts even if it comes twice, which the service refuses.
    """
    if isinstance(given, Mapping):
        return [NamedRun(_name(arm, seed, run), seed, run) for seed, run in given.items()]
    named = [run for run in given if isinstance(run, NamedRun)]
    runs = [run for run in given if not isinstance(run, NamedRun)]
    seeds = [_find_seed(run) for run in runs]
    are_called = all(isinstance(run, Path | str) and _SEED.search(Path(run).name) for run in runs)
    are_known = None not in seeds and (are_called or len(set(seeds)) == len(seeds))
    return named + [
        NamedRun(_name(arm, place, run), seeds[place] if are_known else None, run) for place, run in enumerate(runs)
    ]


def describe_arms(runs: Mapping[str, Sequence[NamedRun]]) -> list[dict[str, Any]]:
    """Return the arms of the body that orders the study."""
    return [{"name": arm, "runs": [_describe(run) for run in of_arm]} for arm, of_arm in runs.items()]


def has_figures(runs: Mapping[str, Sequence[NamedRun]]) -> bool:
    return any(isinstance(run.recorded, Real) for of_arm in runs.values() for run in of_arm)


def list_answers(runs: Mapping[str, Sequence[NamedRun]]) -> dict[tuple[str, int], NamedRun]:
    """Return the runs with answers by arm and by what `GET …/runs` calls their seed."""
    found: dict[tuple[str, int], NamedRun] = {}
    for arm, of_arm in runs.items():
        has_seeds = all(run.seed is not None for run in of_arm)
        for place, run in enumerate(of_arm):
            if not isinstance(run.recorded, Real):
                found[arm, run.seed if has_seeds and run.seed is not None else place] = run
    return found


def _describe(run: NamedRun) -> dict[str, Any]:
    value = float(run.recorded) if isinstance(run.recorded, Real) else None
    return {"run": run.name, "seed": run.seed, "value": value}


def _name(arm: str, place: int, run: Recorded) -> str:
    return str(run)[-200:] if isinstance(run, Path | str) else f"{arm} {place}"


def _find_seed(run: Recorded) -> int | None:
    """Find the seed in the name of a file: `seed3`, or else its last number."""
    if not isinstance(run, Path | str):
        return None
    path = Path(run)
    found = _SEED.search(path.name) or _LAST_NUMBER.search(path.stem if path.suffix in {".npz", ".csv"} else path.name)
    return None if found is None or len(found[1]) > 9 else int(found[1])
