"""Studies with an objective: one measure decides, and the other has no influence."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.studies import state as states
from analysis.studies.comparing import Pair, compare_pairs, compute_gain_unit
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.recording import draw_choosing_units, list_run_keys
from analysis.studies.state import (
    Arm,
    Purpose,
    RecordedRun,
    Recording,
    RunKey,
    Scores,
    StudyRun,
    StudyState,
)
from benchmarks.studies.simulated import Trainings, World, follow, state_of
from heldout.lifecycle.job import JobStatus

SEEDS, IMAGES = 8, 1000
ARMS = ("base", "sharp", "calm", "same")
NOISE = dict.fromkeys(ARMS, 0.005)
# `sharp` has a higher accuracy and a higher loss. `calm` has a lower loss and a lower accuracy.
OPPOSITE = World(ARMS, IMAGES, {"sharp": 0.06, "calm": -0.06}, {"sharp": 0.5, "calm": -0.5}, NOISE)


def make_runs(arm, losses, rights):
    """Make trainings that score equally on all images: only seeds cause noise, so Student's interval is exact."""
    for seed, (loss, right) in enumerate(zip(losses, rights, strict=True)):
        images = np.arange(IMAGES, dtype=np.int32)
        scores = Scores(images, np.full(IMAGES, loss, np.float32), np.full(IMAGES, bool(right)), 0.1, 0.9, 0, 0)
        yield StudyRun(RunKey(arm, Purpose.RACE, seed), f"{arm}-{seed}", JobStatus.SUCCEEDED, scores)


LOSSES = np.random.default_rng(1).normal(1.0, 0.05, SEEDS).astype(np.float32).tolist()
LOWER = np.random.default_rng(2).normal(0.9, 0.05, SEEDS).astype(np.float32).tolist()
WRONG, RIGHT = [0] * SEEDS, [1, 0] * (SEEDS // 2)


def compare(objective, losses=LOWER, rights=RIGHT):
    """Decide a study that looks once. Its error of 5% is divided by the number of comparisons."""
    state = StudyState(
        "external",
        (Arm("base", {}), Arm("other", {})),
        SEEDS,
        None,
        0,
        IMAGES,
        has_test=False,
        max_jobs=2 * SEEDS,
        objective=objective,
    )
    return decide_next_steps(state, [*make_runs("base", LOSSES, WRONG), *make_runs("other", losses, rights)])


@pytest.mark.parametrize(("objective", "error"), [(None, 0.05 / 2), ("loss", 0.05)])
def test_the_loss_interval_is_students_adjusted_for_the_number_of_comparisons(objective, error):
    difference = compare(objective).arms[1].difference
    expected = stats.ttest_rel(LOWER, LOSSES).confidence_interval(1 - error)
    assert difference.adjusted_intervals.loss == pytest.approx(tuple(expected), abs=1e-7)
    single = stats.ttest_rel(LOWER, LOSSES).confidence_interval(0.95)
    assert difference.intervals.loss == pytest.approx(tuple(single), abs=1e-7)


@pytest.mark.parametrize(("objective", "error"), [(None, 0.05 / 2), ("accuracy", 0.05)])
def test_the_accuracy_interval_is_students_adjusted_for_the_number_of_comparisons(objective, error):
    low, _ = compare(objective, LOSSES).arms[1].difference.adjusted_intervals.accuracy
    expected = stats.ttest_rel(RIGHT, WRONG).confidence_interval(1 - error)
    assert low == pytest.approx(expected.low, abs=1e-3)  # our interval adds half an image


def test_an_arm_can_be_a_cure_by_its_objective_and_inconclusive_without_one():
    assert compare(None, LOSSES).conclusion.kind == "cannot_tell"
    assert compare("accuracy", LOSSES).conclusion.kind == "cure"
    assert compare("loss", LOSSES).conclusion.kind == "nothing_helped"


def test_a_study_requests_the_fewest_seeds_that_would_decide_its_objective():
    """With the same mean and spread, Student's interval then excludes either a benefit that matters, or no benefit."""
    losses = np.random.default_rng(4).normal(1.0, 0.05, SEEDS).astype(np.float32).tolist()
    benefits = np.subtract(LOSSES, losses)

    def tells(seeds):
        half = stats.t.ppf(0.975, seeds - 1) * benefits.std(ddof=1) / seeds**0.5
        return half < max(benefits.mean(), 0.05 * np.mean(LOSSES) - benefits.mean())

    conclusion = compare("loss", losses, WRONG).conclusion
    assert conclusion.kind == "cannot_tell"
    assert conclusion.needs.seeds == next(more for more in range(1, 100) if tells(SEEDS + more))


@pytest.mark.parametrize("objective", ["accuracy", "loss", None])
def test_the_interval_on_test_images_is_adjusted_for_the_measures_that_decide(objective):
    """One remedy is tested, so with one measure there is a single comparison."""
    world = replace(OPPOSITE, accuracy={"sharp": 0.06}, loss={"sharp": -0.5})
    unseen = Trainings(world, 2)

    def test(jobs):
        scores = {job: unseen.scores(RunKey(job.split("_")[1], Purpose.RACE, int(job.split("_")[3]))) for job in jobs}
        return states.TestScores(
            {j: run.losses for j, run in scores.items()}, {j: run.right for j, run in scores.items()}
        )

    steps, _ = follow(state_of(world, 3, objective=objective, has_test=True), Trainings(world, 1).scores, test)
    found = steps.conclusion.test.difference
    for measure in ("accuracy", "loss"):
        single, adjusted = getattr(found.intervals, measure), getattr(found.adjusted_intervals, measure)
        if objective is None:
            assert adjusted[0] < single[0] < single[1] < adjusted[1]
        else:
            assert (single == adjusted, single is not None) == (True, measure == objective)


def garble(scores, measure):
    """Replace one measure by noise."""
    random = np.random.default_rng(int(scores.kept_epoch))
    if measure == "loss":
        return replace(scores, losses=random.exponential(9.0, len(scores.images)).astype(np.float32))
    return replace(scores, right=random.random(len(scores.images)) < random.random())


@pytest.mark.parametrize("folds", [None, 10])
@pytest.mark.parametrize(("objective", "other"), [("accuracy", "loss"), ("loss", "accuracy")])
@pytest.mark.parametrize("world", [OPPOSITE, replace(OPPOSITE, accuracy={"sharp": 0.01}, loss={"sharp": -0.02})])
def test_the_measure_that_is_not_the_objective_changes_no_step_and_no_word(world, folds, objective, other):
    world = replace(world, folds=folds, images=60 if folds else 300)
    trainings = Trainings(world, 4)
    arms = (*(Arm(name, {}) for name in ARMS[:3]), Arm("same", {}, candidates=({"rate": 1}, {"rate": 2})))
    state = state_of(world, 3, objective=objective, arms=arms)
    steps, runs = follow(state, trainings.scores)
    same, again = follow(state, lambda key: garble(trainings.scores(key), other))

    assert again.keys() == runs.keys()
    assert same.conclusion.model_copy(update={"gap": None}) == steps.conclusion.model_copy(update={"gap": None})
    for arm, of_same in zip(steps.arms, same.arms, strict=True):
        assert (arm.status, arm.why, arm.seeds, arm.patch) == (
            of_same.status,
            of_same.why,
            of_same.seeds,
            of_same.patch,
        )
        assert arm.difference == of_same.difference
        text = f"{arm.why} {steps.conclusion.explanation}".lower()
        assert other not in text, text
    undecided, _ = follow(replace(state, objective=None), lambda key: garble(trainings.scores(key), other))
    assert undecided.arms != same.arms, "without an objective, both measures count"


def test_each_objective_has_its_own_winner_and_without_one_nothing_is_certain():
    conclusions = {
        objective: follow(state_of(OPPOSITE, 3, objective=objective), Trainings(OPPOSITE, 1).scores)[0].conclusion
        for objective in ("accuracy", "loss", None)
    }
    assert [(conclusion.kind, conclusion.remedy) for conclusion in conclusions.values()] == [
        ("cure", "sharp"),
        ("cure", "calm"),
        ("cannot_tell", None),
    ]
    assert '"sharp" improves accuracy: on validation images, accuracy rises by' in conclusions["accuracy"].explanation
    assert '"calm" improves loss: on validation images, loss falls by' in conclusions["loss"].explanation


def decide_recorded(figures, objective):
    """The conclusion about recorded trainings with these losses, which answer nothing correctly."""
    runs = {arm: tuple(RecordedRun(f"{arm}{seed}", seed) for seed in range(SEEDS)) for arm in figures}
    recording, arms = Recording(runs, draw_choosing_units(runs)), tuple(Arm(arm, {}) for arm in figures)
    state = StudyState(
        "recorded", arms, SEEDS, None, 0, IMAGES, has_test=False, recording=recording, objective=objective
    )
    trainings = [run for arm, losses in figures.items() for run in make_runs(arm, losses, WRONG)]
    return decide_next_steps(state, trainings).conclusion


@pytest.mark.parametrize(("objective", "kind"), [("loss", "worse"), (None, "worse"), ("accuracy", "cannot_tell")])
def test_a_recorded_arm_is_only_worse_in_a_measure_that_decides(objective, kind):
    higher = np.add(LOSSES, 0.2)
    assert decide_recorded({"base": LOSSES, "other": higher}, objective).kind == kind


def test_with_an_objective_the_gain_is_the_benefit_in_that_measure():
    pair = [[run.scores for run in make_runs("arm", *figures)] for figures in ((LOWER, RIGHT), (LOSSES, WRONG))]
    for measure, sign in (("accuracy", 1), ("loss", -1)):
        unit = compute_gain_unit(pair[1], (measure,))
        found = compare_pairs({"arm": Pair(*pair, is_paired=True)}, unit)["arm"]
        benefit = sorted(sign * bound for bound in getattr(found, measure).interval())
        assert found.gain.interval() == pytest.approx(tuple(benefit))


def test_an_undecided_arm_is_named_before_one_that_changes_too_little():
    """The arm that changes too little to matter has the larger mean benefit."""
    figures = {
        "base": LOSSES,
        "small": np.add(LOSSES, np.resize([-0.015, 0.005], SEEDS)),
        "noisy": np.add(LOSSES, np.resize([-0.1, 0.1], SEEDS)),
    }
    explanation = decide_recorded(figures, "loss").explanation
    assert '"noisy" comes closest' in explanation
    assert '"small" probably makes no difference that matters.' in explanation


def test_only_the_objective_decides_about_recorded_trainings():
    def decide(objective):
        runs = {arm: tuple(RecordedRun(f"{arm}{seed}", seed) for seed in range(SEEDS)) for arm in ("base", "other")}
        recording = Recording(runs, draw_choosing_units(runs))
        arms = tuple(Arm(arm, {}) for arm in runs)
        state = StudyState(
            "recorded", arms, SEEDS, None, 0, IMAGES, has_test=False, recording=recording, objective=objective
        )
        trainings = [*make_runs("base", LOSSES, WRONG), *make_runs("other", LOSSES, RIGHT)]
        assert {run.key for run in trainings} == {key for keys in list_run_keys(recording).values() for key in keys}
        return decide_next_steps(state, trainings)

    assert decide(None).conclusion.kind == "cannot_tell"
    same = decide("loss").conclusion
    assert (same.kind, same.needs) == ("cannot_tell", None)
    assert same.explanation.endswith('with 8 runs. "other" probably makes no difference that matters.')
    steps = decide("accuracy")
    assert (steps.conclusion.kind, steps.arms[1].difference.loss) == ("better", None)
    low, _ = steps.arms[1].difference.adjusted_intervals.accuracy
    assert low == pytest.approx(stats.ttest_rel(RIGHT, WRONG).confidence_interval(0.95).low, abs=1e-3)
