"""Tuners compared with studies, on recorded trainings at the same cost: `python -m benchmarks.cures.tuners COMMAND`.

run [sealed]     let them choose on every condition that is not sealed, or on those that are; kept in tuners.json
table [sealed]   how good their choices are, compared with studies

`run` needs Optuna and KerasTuner, which Heldout does not. Install them in a separate environment:
pip install optuna==5.0.0 keras-tuner==1.4.8
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from benchmarks.cures import replay, score
from benchmarks.cures.conditions import SEEDS, Condition
from benchmarks.cures.studies import orders, study
from benchmarks.cures.truth import MEASURES
from heldout.studies.spec import BASE_ARM

if TYPE_CHECKING:
    from benchmarks.cures import tuning

FILE = Path(__file__).with_name("tuners.json")
SEARCHES = 20  # of each condition and tuner, with as many trainings as that many studies
FEW_SEEDS = 3  # of a trial, as of a study's first look


def main(arguments: list[str]) -> None:
    match arguments:
        case ["run"]:
            run(replay.conditions(sealed=False))
        case ["run", "sealed"]:
            run(replay.conditions(sealed=True))
        case ["table"]:
            print("\n".join(table(replay.conditions(sealed=False))))
        case ["table", "sealed"]:
            print("\n".join(table(replay.conditions(sealed=True))))
        case _:
            raise SystemExit(__doc__)


def run(conditions: list[Condition]) -> None:
    """Record what tuners choose on these conditions, one condition at a time. Conditions that are recorded already
    stay.
    """
    try:
        import optuna

        from benchmarks.cures import tuning  # noqa: F401 - both of them
    except ImportError as missing:
        raise SystemExit(f"{missing}\n\n{__doc__}") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for condition in conditions:
        budgets = [study(condition, order).trainings for order in orders(condition, SEARCHES)]
        found = _kept().get(condition.key, {})
        if found.get("remedies") != [*replay.remedies(condition)] or found.get("trainings") != budgets:
            found = {
                "remedies": [*replay.remedies(condition)],
                "trainings": budgets,
                "choices": choices(condition, budgets),
            }
            whole = dict(sorted((_kept() | {condition.key: found}).items()))
            FILE.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        print(condition.key, json.dumps(found["choices"]), flush=True)


def choices(condition: Condition, budgets: Sequence[int]) -> dict[str, dict[str, Any]]:
    """How often each tuner chooses each arm, with as many trainings as each of the studies used."""
    from benchmarks.cures import tuning

    searches = [*enumerate(zip(orders(condition, len(budgets)), budgets, strict=True))]
    found: dict[str, dict[str, Any]] = {}
    for measure in MEASURES:
        for count in (FEW_SEEDS, len(SEEDS)):
            found[f"Optuna, {count} seeds a trial, validation {measure}"] = _told(
                tuning.optuna_choice(condition, order[:count], measure, budget, draw)
                for draw, (order, budget) in searches
            )
        found[f"Hyperband, validation {measure}"] = _told(
            tuning.hyperband_choice(condition, measure, budget * condition.epochs, draw)
            for draw, (_, budget) in searches
        )
    return found


def _told(made: Iterable["tuning.Choice"]) -> dict[str, Any]:
    every = [*made]
    arms = Counter(one.arm for one in every)
    return {"arms": dict(arms.most_common()), "used": round(mean(one.used for one in every), 3)}


def table(conditions: list[Condition]) -> Iterator[str]:
    """Compare studies and tuners on the conditions in which tuners chose among the same remedies."""
    kept = _kept()
    found = []
    for condition in conditions:
        if kept.get(condition.key, {}).get("remedies") == [*replay.remedies(condition)]:
            scored = score.scored(condition, SEARCHES)
            tuned = {name: _listed(result["arms"]) for name, result in kept[condition.key]["choices"].items()}
            found.append(replace(scored, choices={score.STUDY: scored.choices[score.STUDY], **tuned}))
    yield from score.methods(found)
    yield ""
    yield "| chosen by | of the trainings or epochs of a study, used |"
    yield "|---|---|"
    for name in [*found[0].choices][1:]:
        used = mean(kept[one.condition.key]["choices"][name]["used"] for one in found)
        yield f"| {name} | {used:.2f} |"


def _listed(counts: dict[str, int]) -> list[str | None]:
    return [None if arm == BASE_ARM else arm for arm, count in counts.items() for _ in range(count)]


def _kept() -> dict[str, dict[str, Any]]:
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


if __name__ == "__main__":
    main(sys.argv[1:])
