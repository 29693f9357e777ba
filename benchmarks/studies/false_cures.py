"""How often a study names a false cure, and what it costs: `python -m benchmarks.studies.false_cures`.

These are whole studies on simulated trainings, with looks, drops and confirmation. Prints a Markdown table of
docs/measurements/coverage.md.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from analysis.studies.planning import count_most_jobs
from benchmarks.studies.coverage import Setting, world_of
from benchmarks.studies.simulated import Trainings, World, follow, hash_of, state_of


def settings() -> Iterator[Setting]:
    """All rows of the table."""
    for remedies in (1, 6):
        for images, folds in ((200, None), (2000, None), (60, 10)):
            for noise, equal in ((1.0, True), (4.0, False)):
                yield Setting(remedies, 3, images, noise, equal, folds)


def null_world(setting: Setting) -> World:
    """A world where no remedy changes anything."""
    return replace(world_of(setting), accuracy={}, tails={})


def conclusions(world: World, seeds: int, studies: int) -> tuple[Counter[str], float]:
    """Count the studies by conclusion, with the share of all possible trainings that they used."""
    state, seed = state_of(world, seeds), 10_000 * hash_of(world)
    found: Counter[str] = Counter()
    jobs = 0
    for number in range(studies):
        steps, runs = follow(state, Trainings(world, seed + number).scores)
        assert steps.conclusion is not None
        found[steps.conclusion.kind] += 1
        jobs += len(runs)
    return found, jobs / studies / (count_most_jobs(state) - 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=300)
    options = parser.parse_args()
    print("| remedies | splits | images | seed noise | cure | nothing helped | cannot tell | trainings |")
    print("|---|---|---|---|---|---|---|---|")
    for setting in settings():
        found, share = conclusions(null_world(setting), setting.seeds, options.studies)
        noise = f"{setting.noise:g} points" + ("" if setting.equal else ", unequal")
        kinds = [f"{found[kind] / options.studies:.3f}" for kind in ("cure", "nothing_helped", "cannot_tell")]
        splits = "fixed" if setting.folds is None else "resampled"
        row = [setting.remedies, splits, f"{setting.images:,}", noise, *kinds, f"{share:.2f}"]
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
