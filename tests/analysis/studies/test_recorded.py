"""Recorded runs: their intervals compared with SciPy's, how they are drawn, and which are paired."""

import numpy as np
import pytest
from scipy import stats

from analysis.studies.comparing import Pair, compare_pairs, compute_gain_unit
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.recording import draw_choosing_units, match_runs, take_half
from analysis.studies.state import Arm, RecordedRun, Recording, Scores, StudyState

RANDOM = np.random.default_rng(3)
BASE = RANDOM.normal(0.8, 0.01, 7).tolist()
OTHER = RANDOM.normal(0.85, 0.02, 5).tolist()


def runs_of(figures, seeds=None):
    return tuple(RecordedRun(f"run {n}", None if seeds is None else seeds[n], f) for n, f in enumerate(figures))


def decided(runs, metric="accuracy", better="higher", images=None):
    recording = Recording(runs, draw_choosing_units(runs), metric, better, images)
    arms = tuple(Arm(name, {}) for name in runs)
    return decide_next_steps(StudyState("recorded", arms, 2, None, 0, 0, has_test=False, recording=recording), ())


def test_unpaired_figures_have_welchs_interval():
    steps = decided({"base": runs_of(BASE), "drop": runs_of(OTHER)})
    expected = stats.ttest_ind(OTHER, BASE, equal_var=False).confidence_interval(0.95)
    assert steps.arms[1].difference.intervals.accuracy == pytest.approx(tuple(expected), abs=1e-9)
    adjusted = stats.ttest_ind(OTHER, BASE, equal_var=False).confidence_interval(1 - 0.05)
    assert steps.arms[1].difference.adjusted_intervals.accuracy == pytest.approx(tuple(adjusted), abs=1e-9)


def test_paired_figures_have_students_interval_of_their_differences():
    steps = decided({"base": runs_of(BASE, range(7)), "drop": runs_of(OTHER, [6, 5, 4, 3, 2])})
    own = dict(zip([6, 5, 4, 3, 2], OTHER, strict=True))
    pairs = [own[seed] for seed in range(2, 7)], [BASE[seed] for seed in range(2, 7)]
    expected = stats.ttest_rel(*pairs).confidence_interval(0.95)
    assert steps.arms[1].difference.intervals.accuracy == pytest.approx(tuple(expected), abs=1e-9)


def test_equal_differences_of_rounded_figures_are_not_taken_for_certain():
    def measure(base, drop):
        steps = decided({"base": runs_of(base, range(3)), "drop": runs_of(drop, range(3))})
        for arm in steps.arms:
            assert arm.validation.intervals.accuracy[0] + 1e-4 < arm.validation.accuracy
        return steps.conclusion.kind, next(arm.difference for arm in steps.arms if arm.name == "drop")

    kind, difference = measure([0.80] * 3, [0.82] * 3)
    low, high = difference.intervals.accuracy
    # Each figure is off by up to half a step; a step is the smallest difference seen.
    deviation = 0.02 * np.sqrt(2 / 12)
    assert (high - low) / 2 >= stats.t.ppf(0.975, 2) * deviation / np.sqrt(3) - 1e-9
    assert (kind, difference.accuracy) == ("cannot_tell", pytest.approx(0.02))
    # A figure that was stored in 32 bits does not make the steps shorter.
    assert measure([0.80] * 3, [0.82, float(np.float32(0.82)), 0.82])[0] == "cannot_tell"
    # Figures that vary more than their rounding are judged as before.
    assert measure([0.801, 0.804, 0.799], [0.901, 0.905, 0.902])[0] == "cure"


def test_a_loss_is_compared_with_the_opposite_sign():
    steps = decided({"base": runs_of(OTHER, range(5)), "drop": runs_of(BASE[:5], range(5))}, "loss", "lower")
    assert steps.conclusion.kind in ("better", "cure")
    expected = stats.ttest_rel(BASE[:5], OTHER).confidence_interval(0.95)
    assert steps.arms[1].difference.intervals.loss == pytest.approx(tuple(expected), abs=1e-9)


def make_scores(right):
    images = np.arange(len(right), dtype=np.int32)
    return Scores(images, (1.0 - right).astype(np.float32), right.astype(bool), 0.0, 0.0, 0, 0)


def test_the_interval_of_unpaired_answers_covers_the_true_difference():
    missed, draws = 0, 300
    for draw in range(draws):
        random = np.random.default_rng([7, draw])
        hard = random.normal(size=300)

        def train(shift, random=random, hard=hard):
            noise = random.normal(0, 0.15)
            return make_scores(random.normal(size=300) * 0.7 + hard * 0.7 < 0.6 + shift + noise)

        base, other = [train(0.0) for _ in range(4)], [train(0.2) for _ in range(6)]
        truth = stats.norm.cdf((0.8) / np.hypot(np.hypot(0.7, 0.7), 0.15)) - stats.norm.cdf(
            0.6 / np.hypot(np.hypot(0.7, 0.7), 0.15)
        )
        found = compare_pairs({"other": Pair(other, base, False)}, compute_gain_unit(base))["other"]
        low, high = found.accuracy.interval()
        missed += not low <= truth <= high
    assert missed / draws <= 0.08


def test_seeds_are_always_drawn_alike_and_each_arm_has_runs_in_both_halves():
    runs = {"base": runs_of(BASE, range(7)), "drop": runs_of(OTHER, range(5)), "free": runs_of(OTHER)}
    chooses = draw_choosing_units(runs)
    other_figures = {name: runs_of([0.5] * len(of_arm), [run.seed for run in of_arm]) for name, of_arm in runs.items()}
    assert draw_choosing_units({name: other_figures[name] for name in ("base", "drop")}) == draw_choosing_units(
        {name: runs[name] for name in ("base", "drop")}
    )
    turned = {name: of_arm[::-1] for name, of_arm in runs.items()}
    assert set(draw_choosing_units(turned)) == set(chooses), "the order of the runs does not matter"
    recording = Recording(runs, chooses)
    for arm in ("drop", "free"):
        matched = match_runs(runs, arm)
        halves = [take_half(recording, arm, matched, chooses=chooses) for chooses in (True, False)]
        assert all(len(half.own) >= 2 and len(half.base) >= 2 for half in halves)
        assert sorted(halves[0].own + halves[1].own) == sorted(matched.own)
    assert take_half(recording, "drop", match_runs(runs, "drop"), chooses=True).is_paired


def test_a_gain_that_the_confirming_half_does_not_prove_is_not_a_cure():
    base = runs_of([0.8] * 8, range(8))
    chooses = [int(unit.split()[1]) for unit in draw_choosing_units({"base": base, "drop": base})]
    confirms = [seed for seed in range(8) if seed not in chooses]

    def decide(*doubtful):
        gains = dict(zip([*chooses, *confirms], [0.05, 0.051, 0.049, 0.05, *doubtful], strict=True))
        return decided({"base": base, "drop": runs_of([0.8 + gains[seed] for seed in range(8)], range(8))}).conclusion

    assert decide(0.06, 0.0, 0.055, 0.01).kind == "better"
    assert decide(0.05, 0.051, 0.049, 0.05).kind == "cure"


def test_needed_seeds_follow_from_the_measured_spread():
    def count_needed(noise):
        gains = [0.01 + noise * step for step in (-1.5, -0.5, 0.0, 0.5, 1.5)]
        steps = decided({"base": runs_of([0.8] * 5, range(5)), "drop": runs_of([0.8 + g for g in gains], range(5))})
        assert steps.conclusion.kind == "cannot_tell"
        return steps.conclusion.needs.seeds

    few, many = count_needed(0.01), count_needed(0.025)
    # The fewest seeds for which Student's interval is narrower than the difference, if the spread stays the same.
    for noise, more in ((0.01, few), (0.025, many)):
        deviation = noise * np.std([-1.5, -0.5, 0, 0.5, 1.5], ddof=1)
        halves = [stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n) for n in (5 + more - 1, 5 + more)]
        assert halves[1] < 0.01 <= halves[0]
    assert count_needed(0.03) is None  # 41 would tell, and more than 40 are impractical
