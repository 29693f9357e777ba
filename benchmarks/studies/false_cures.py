"""How often a study names a false cure, and what it costs: `python -m benchmarks.studies.false_cures`.

These are whole studies on simulated trainings, with looks, drops and confirmation. Prints a Markdown table of
docs/measurements/coverage.md.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from analysis.studies.planning import count_most_jobs
from analysis.studies.state import RunKey, StudyRun
from benchmarks.studies.coverage import Setting, world_of
from benchmarks.studies.simulated import Trainings, World, follow, hash_of, state_of
from heldout.studies.spec import FIRST_REMEDIES


def settings() -> Iterator[Setting]:
    """All rows of the table."""
    for remedies in (1, 6):
        for images, folds in ((200, None), (2000, None), (60, 10)):
            for noise, equal in ((1.0, True), (4.0, False)):
                yield Setting(remedies, 3, images, noise, equal, folds)


def null_world(setting: Setting) -> World:
    """A world where no remedy changes anything."""
    return replace(world_of(setting), accuracy={}, tails={})


def stages_of(world: World, *, is_continued: bool) -> list[tuple[int, ...]]:
    """The stages of a study that begins with a first answer: alone, or continued for as long as that is possible."""
    first, every = min(1 + FIRST_REMEDIES, len(world.arms)), len(world.arms)
    if not is_continued:
        return [(first,)]
    return [(first,), (first, first), *([(first, first, every)] if every > first else [])]


def conclusions(
    world: World, seeds: int, studies: int, stages: list[tuple[int, ...]] | None = None
) -> tuple[Counter[str], float]:
    """Count the studies by conclusion, with the share of all possible trainings that they used.

    Args:
        stages: of a study that begins with a first answer, and is continued until it finds a cure.
    """
    state, seed = state_of(world, seeds), 10_000 * hash_of(world)
    found: Counter[str] = Counter()
    jobs = 0
    for number in range(studies):
        runs: Mapping[RunKey, StudyRun] = {}
        for stage in stages or [()]:
            now = replace(state, stages=stage)
            steps, runs = follow(now, Trainings(world, seed + number).scores, there=runs)
            assert steps.conclusion is not None
            if steps.conclusion.kind == "cure":
                break
        assert steps.conclusion is not None
        found[steps.conclusion.kind] += 1
        jobs += len(runs)
    return found, jobs / studies / count_most_jobs(state)


# Whole studies at once, first answers alone, and first answers that are continued until they find a cure.
WAYS = ("full", "first", "continued")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    parser.add_argument("--way", choices=WAYS, action="append", help="by default all")
    options = parser.parse_args()
    print("| study | remedies | splits | images | seed noise | cure | nothing helped | cannot tell | trainings |")
    print("|---|---|---|---|---|---|---|---|---|")
    for way in options.way or WAYS:
        for setting in settings():
            world = null_world(setting)
            stages = None if way == "full" else stages_of(world, is_continued=way == "continued")
            found, share = conclusions(world, setting.seeds, options.studies, stages)
            noise = f"{setting.noise:g} points" + ("" if setting.equal else ", unequal")
            kinds = [f"{found[kind] / options.studies:.3f}" for kind in ("cure", "nothing_helped", "cannot_tell")]
            splits = "fixed" if setting.folds is None else "resampled"
            row = [way, setting.remedies, splits, f"{setting.images:,}", noise, *kinds, f"{share:.2f}"]
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
