"""Studies with an objective that counts classes: its intervals, its winner, and too few images of a class."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.answers.answers import Answers
from analysis.answers.metrics import contribute
from analysis.studies import state as states
from analysis.studies.comparing import GainUnit, Pair, compare_pairs
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.objectives import count_rarest, get_objective
from analysis.studies.state import Arm, Purpose, RunKey, Scores, StudyRun, StudyState
from analysis.studies.stored import pack_scores, pack_tested, unpack_scores, unpack_tested
from benchmarks.studies.objectives import Setting, World, make_scores, measure_coverage
from heldout.lifecycle.job import JobStatus

UNIT = {
    measure: GainUnit(1.0, 1.0, (measure,)) for measure in ("balanced_accuracy", "macro_f1", "auroc", "worst_class")
}


def draw_pair(measure, counts=(30, 300), seeds=5, noise=0.0):
    world = World(len(counts), 3)
    labels, common = world.draw_images(counts)
    rows = np.arange(len(labels))
    arms = {arm: [world.answer(arm, labels, common, noise) for _ in range(seeds)] for arm in ("remedy", "base")}
    return Pair(*([make_scores(measure, rows, each) for each in answers] for answers in arms.values())), arms


@pytest.mark.parametrize("measure", ["balanced_accuracy", "macro_f1", "auroc"])
def test_an_interval_is_as_wide_as_that_of_a_bootstrap_of_images_paired_over_arms_and_seeds(measure):
    pair, arms = draw_pair(measure, counts=(100, 400))
    found = compare_pairs({"remedy": pair}, UNIT[measure])["remedy"].objective
    random, drawn = np.random.default_rng(1), []
    for _ in range(200):
        rows = random.integers(0, 500, 500)
        one = [np.mean([contribute(measure, each.of(rows)).value for each in arms[arm]]) for arm in ("remedy", "base")]
        drawn.append(one[0] - one[1])
    assert found.mean == pytest.approx(np.mean(drawn), abs=0.005)
    assert 0.9 < found.compute_half_width(0.05) / (1.96 * np.std(drawn)) < 1.6


def test_a_minimum_is_bounded_by_the_classes_that_may_be_the_lowest():
    pair, _ = draw_pair("worst_class", counts=(200, 200, 200))
    found = compare_pairs({"remedy": pair}, UNIT["worst_class"])["remedy"].objective
    low, high = found.interval()
    assert low < found.mean < high
    reach = max(each.compute_half_width(0.05) for each in (*found.own, *found.base))
    shares = [each.mean for each in (*found.own, *found.base)]
    assert high - low < 4 * reach + 2 * (max(shares) - min(shares))
    mirrored = found.mirror()
    assert mirrored.mean == pytest.approx(-found.mean)
    assert mirrored.interval() == pytest.approx((-high, -low))


def test_below_twenty_images_of_a_class_nothing_is_sure():
    for measure in UNIT:
        pair, _ = draw_pair(measure, counts=(19, 300))
        low, high = compare_pairs({"remedy": pair}, UNIT[measure])["remedy"].objective.interval()
        assert (low, high) == (-np.inf, np.inf)
        assert count_rarest(pair.runs, measure) == 19
    pair, _ = draw_pair("balanced_accuracy", counts=(20, 300))
    assert np.isfinite(compare_pairs({"remedy": pair}, UNIT["balanced_accuracy"])["remedy"].objective.interval()).all()


# `even` finds 60 of 60 rare images and 520 of 600 frequent ones; `usual` 20 and 590.
FOUND = {"base": (20, 580), "even": (60, 520), "usual": (20, 590)}


def make_run(arm, seed, objective, counts=(60, 600)):
    labels = np.repeat([0, 1], counts).astype(np.int32)
    random, right = np.random.default_rng([seed, *arm.encode()]), np.zeros(len(labels), bool)
    for label, found in enumerate(FOUND[arm]):
        places = np.flatnonzero(labels == label)
        right[random.permutation(places)[: min(found, len(places)) - random.integers(0, 3)]] = True
    answers = Answers.without_probabilities(labels, np.where(right, labels, 1 - labels).astype(np.int64))
    images = np.arange(len(labels), dtype=np.int32)
    # The groups are the classes; a tenth of the frequent images has none.
    answers = answers.in_groups(np.where(np.arange(len(labels)) % 600 < 540, labels, -1).astype(np.int64))
    contributions = None if objective in (None, "accuracy") else contribute(objective, answers)
    losses = np.where(right, 0.2, 2.0).astype(np.float32)
    scores = Scores(images, losses, right, 0.1, 0.9, 1000, 5, contributions)
    return StudyRun(RunKey(arm, Purpose.RACE, seed), f"{arm}-{seed}", JobStatus.SUCCEEDED, scores)


def decide(objective, counts=(60, 600), **changes):
    arms = tuple(Arm(name, {}) for name in FOUND)
    state = StudyState("external", arms, 5, None, 0, sum(counts), has_test=False, max_jobs=15, objective=objective)
    runs = [make_run(arm, seed, objective, counts) for arm in FOUND for seed in range(5)]
    return decide_next_steps(replace(state, **changes), runs)


@pytest.mark.parametrize(
    ("objective", "winner"),
    [("accuracy", "usual"), ("worst_class", "even"), ("worst_group", "even"), ("balanced_accuracy", "even")],
)
def test_the_winner_is_the_best_by_the_objective(objective, winner):
    steps = decide(objective)
    assert (steps.conclusion.kind, steps.conclusion.remedy) == ("cure", winner)


def test_every_sentence_and_figure_of_a_study_is_about_its_objective():
    steps = decide("worst_class")
    even = next(arm for arm in steps.arms if arm.name == "even")
    assert even.difference.measures == ["worst_class"]
    assert (even.difference.accuracy, even.difference.loss) == (None, None)
    assert even.difference.side("worst_class") == "better"
    assert even.validation.intervals.objective[0] < even.validation.objective < even.validation.intervals.objective[1]
    said = steps.conclusion.explanation
    assert said.startswith('"even" improves recall of the worst class: on validation images, recall of the worst class')
    assert "rises by at least" in said
    assert "loss" not in said


def test_too_few_images_of_a_class_are_said_to_be_too_few():
    steps = decide("balanced_accuracy", counts=(12, 600))
    assert steps.conclusion.kind == "cannot_tell"
    assert "the rarest class has 12 images, and 20 are needed" in steps.conclusion.explanation
    assert steps.conclusion.needs.images == 409  # two thirds as many as there are
    assert all(arm.difference.adjusted_intervals.objective is None for arm in steps.arms[1:])
    by_group = decide("worst_group", counts=(2, 600)).conclusion
    assert by_group.kind == "cannot_tell"
    assert "the smallest group has 2 images, and 20 are needed" in by_group.explanation


@pytest.mark.parametrize("objective", ["balanced_accuracy", "worst_group"])
def test_stored_scores_keep_what_images_contribute(objective):
    scores = make_run("base", 0, objective).scores
    again = unpack_scores(pack_scores(scores))
    assert get_objective(again).value == scores.objective.value
    assert np.array_equal(get_objective(again).of_image, scores.objective.of_image)
    assert np.array_equal(get_objective(again).strata, scores.objective.strata)
    tested = states.TestScores({"job_1": scores.losses}, {"job_1": scores.right}, {"job_1": scores.objective})
    assert np.array_equal(unpack_tested(pack_tested(tested)).objective["job_1"].of_image, scores.objective.of_image)


@pytest.mark.proof
def test_intervals_hold_as_often_as_they_say():
    """A short form of docs/measurements/objectives.md."""
    for setting in (Setting((20, 300), 5), Setting((100, 100, 100), 8)):
        found = measure_coverage(setting, 200)
        assert all(0.91 <= share <= 1 for share in found.values()), found
        assert found["worst_class"] >= 0.95
        assert found["worst_group"] >= 0.95
