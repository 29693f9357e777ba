"""Studies of external trainings in which nothing can help: `python -m benchmarks.cures external [BEGINNING OF A WAY]`.

The recorded trainings of `nulls.py` are given to a study as its user would give them:

- *ask and tell*: reported one at a time, at looks of 3, 5 and 8 seeds.
- *recorded answers*: all at once, each with its answers to the validation images. With folds there is no such study.
- *recorded accuracies*, *losses*: all at once, each with its validation accuracy or loss only.
- *stopped at the best*: compared after each seed, from 3 to 8; the best of these six answers counts.
- *by accuracy*, *by loss*: with this `objective`.

Each draw takes 1 to 6 arms. Recorded arms have 3 to 8 runs each; half of the draws have seeds, and half do not.
"""

from collections.abc import Callable, Iterator

import numpy as np

from analysis.studies.next_steps import decide_next_steps
from analysis.studies.recording import draw_choosing_units, list_run_keys
from analysis.studies.state import Arm, NextSteps, RecordedRun, Recording, StudyRun, StudyState
from benchmarks.cures import replay
from benchmarks.cures.conditions import SEEDS, Condition
from benchmarks.cures.nulls import KINDS, exchangeable, shuffle_trainings
from benchmarks.cures.record import Training
from benchmarks.cures.studies import FIRST_SEEDS, orders, scores_of
from benchmarks.studies.simulated import follow
from heldout.lifecycle.job import JobStatus
from heldout.metrics import MEASURES
from heldout.statistics import compute_wilson_interval
from heldout.studies.spec import BASE_ARM, Measure

WAYS = (
    "ask and tell",
    "recorded answers",
    "recorded answers, stopped at the best",
    "recorded accuracies",
    "recorded accuracies, stopped at the best",
    "recorded accuracies and images",
    "recorded losses",
    *(f"{way}, by {measure}" for way in ("ask and tell", "recorded answers") for measure in MEASURES),
)
WAYS_OF_POWER = ("recorded answers", "recorded accuracies", "recorded losses", "recorded accuracies and images")
DRAWS = 1000
MOST_ARMS = 6
FEWEST_RUNS = 3
BOOTSTRAPS = 2000

# The trainings of each arm in the order of their seeds.
Drawn = dict[str, list[Training]]


def tables(begins: str = "") -> Iterator[str]:
    """How often each way that begins so names a cure, or says `better`, although nothing can help."""
    yield "| way | nothing can help | conditions | studies | cure (interval) | better (interval) |"
    yield "|---|---|---|---|---|---|"
    for way in WAYS:
        for kind in KINDS:
            if way.startswith(begins):
                yield row_of(way, kind)


def power_tables() -> Iterator[str]:
    """Count the recorded arms that a comparison with their base tells apart, by the number of seeds."""
    counts = range(FEWEST_RUNS, len(SEEDS) + 1)
    yield f"| of {len(list_pairs())} arms, told apart by | {' | '.join(f'{count} seeds' for count in counts)} |"
    yield "|---" * (1 + len(counts)) + "|"
    for way in WAYS_OF_POWER:
        answered = [sum(get_answer(steps) != "cannot_tell" for steps in compare_pairs(way, count)) for count in counts]
        yield f"| {way} | {' | '.join(map(str, answered))} |"


def compare_pairs(way: str, seeds: int) -> Iterator[NextSteps]:
    """Compare each recorded arm with its base by their first seeds."""
    for condition, arm in list_pairs():
        grid = replay.grid(condition)
        drawn = {name: [grid[name, seed] for seed in range(seeds)] for name in (BASE_ARM, arm)}
        yield compare_recorded(condition, drawn, way, has_seeds=True)


def list_pairs() -> list[tuple[Condition, str]]:
    """The arms that have all seeds, in conditions without folds."""
    return [
        (condition, arm)
        for condition in replay.conditions()
        if condition.folds is None
        for arm in replay.remedies(condition)
        if all((arm, seed) in replay.grid(condition) for seed in SEEDS)
    ]


def row_of(way: str, kind: str) -> str:
    conditions = [one for one in replay.conditions() if len(exchangeable(one, kind)) > 1]
    if way.startswith("recorded answers"):
        conditions = [one for one in conditions if one.folds is None]
    each = -(-DRAWS // len(conditions))
    found = [[*answer_nulls(condition, kind, way, each)] for condition in conditions]
    shares = []
    for answer in ("cure", "better"):
        shares.append(describe_share([np.array([one == answer for one in of_condition]) for of_condition in found]))
    return f"| {way} | {kind} | {len(conditions)} | {each * len(conditions):,} | {' | '.join(shares)} |"


def answer_nulls(condition: Condition, kind: str, way: str, count: int) -> Iterator[str]:
    """The answers of this many studies."""
    random = np.random.default_rng([condition.draw, 20 + KINDS.index(kind), WAYS.index(way)])
    for number, order in enumerate(orders(condition, count)):
        arms = exchangeable(condition, kind)
        training = shuffle_trainings(condition, kind, arms, order, random)
        others = random.permutation(arms[1:])[: random.integers(1, MOST_ARMS + 1)]
        names = [BASE_ARM, *map(str, others)]
        if way.startswith("ask and tell"):
            yield get_answer(ask_and_tell(condition, names, training, find_objective(way)))
            continue
        counts = [int(random.integers(FEWEST_RUNS, len(SEEDS) + 1))]
        if way.endswith("stopped at the best"):
            counts = [*range(FEWEST_RUNS, len(SEEDS) + 1)]
        answers = []
        for seeds in counts:
            drawn = {name: [training(name, seed) for seed in range(seeds)] for name in names}
            answers.append(get_answer(compare_recorded(condition, drawn, way, has_seeds=number % 2 == 0)))
        yield next((answer for answer in ("cure", "better") if answer in answers), answers[-1])


def get_answer(steps: NextSteps) -> str:
    assert steps.conclusion is not None
    return steps.conclusion.kind


def find_objective(way: str) -> Measure | None:
    return next((measure for measure in MEASURES if way.endswith(f"by {measure}")), None)


def ask_and_tell(
    condition: Condition,
    arms: list[str],
    training: Callable[[str, int], Training],
    objective: Measure | None,
) -> NextSteps:
    """Report to a study each training that it asks for."""
    state = StudyState(
        "external",
        tuple(Arm(name, {}) for name in arms),
        FIRST_SEEDS,
        condition.folds,
        condition.train,
        condition.validation,
        has_test=False,
        objective=objective,
    )
    return follow(state, lambda key: scores_of(condition, training(key.arm, key.seed)))[0]


def compare_recorded(condition: Condition, drawn: Drawn, way: str, *, has_seeds: bool) -> NextSteps:
    """Give a study all trainings at once."""
    has_answers = way.startswith("recorded answers")

    def figure(training: Training) -> float | None:
        if has_answers:
            return None
        return float(training.losses.mean(dtype=np.float64) if way == "recorded losses" else training.correct.mean())

    runs = {
        arm: tuple(
            RecordedRun(f"{arm}-{seed}", seed if has_seeds else None, figure(training))
            for seed, training in enumerate(of_arm)
        )
        for arm, of_arm in drawn.items()
    }
    recording = Recording(
        runs,
        draw_choosing_units(runs),
        None if has_answers else "metric",
        "lower" if way == "recorded losses" else "higher",
        condition.validation if way.endswith("images") else None,
    )
    arms = tuple(Arm(name, {}) for name in drawn)
    state = StudyState(
        "recorded",
        arms,
        len(drawn[BASE_ARM]),
        None,
        condition.train,
        condition.validation,
        has_test=False,
        recording=recording,
        objective=find_objective(way),
    )
    runs = []
    if has_answers:
        for arm, keys in list_run_keys(recording).items():
            for key, training in zip(keys, drawn[arm], strict=True):
                scores = scores_of(condition, training)
                runs.append(StudyRun(key, f"{arm}-{key.seed}", JobStatus.SUCCEEDED, scores))
    return decide_next_steps(state, runs)


def describe_share(clusters: list[np.ndarray]) -> str:
    """The mean of the conditions' shares, with the larger one of two upper bounds.

    One resamples whole conditions; it is 0 if no study was wrong. The other treats all studies as independent.
    """
    random = np.random.default_rng(0)
    shares, count = np.array([cluster.mean() for cluster in clusters]), len(clusters)
    drawn = shares[random.integers(count, size=(BOOTSTRAPS, count))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    total = sum(map(len, clusters))
    independent = compute_wilson_interval(float(shares.mean() * total), total)
    return f"{shares.mean():.3f} ({min(low, independent[0]):.3f} to {max(high, independent[1]):.3f})"
