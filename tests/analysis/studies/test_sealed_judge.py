"""A judge's errors stay within 5 of 100 over all looks, whatever its answers lead agents to send next."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from analysis.studies.sealed_judge import ERROR, STEPS, Budget, find_gain, judge
from benchmarks.studies.guessing import AGENTS, ask_leaderboard, climb, count_fooled, make_simulated, simulate


def sum_levels(budget):
    """Add the levels of all looks on all paths: each answer is no, or better with one of the gains or none."""
    if budget.spent == budget.looks:
        return 0.0
    refused = replace(budget, spent=budget.spent + 1)
    better = replace(refused, betters=budget.betters + 1)
    return budget.level + sum_levels(refused) + (len(STEPS) + 1) * sum_levels(better)


@pytest.mark.parametrize("looks", [1, 2, 5])
def test_over_all_paths_of_answers_the_levels_add_up_to_no_more_than_the_error(looks):
    total = sum_levels(Budget(looks))
    assert 0.4 * ERROR < total <= ERROR


def make_answers(wins, losses, same):
    """Answers right on `wins` images where the best is wrong, and the reverse; labels are 0."""
    candidate = np.array([0] * wins + [1] * losses + [0] * same, np.int16)
    best = np.array([1] * wins + [0] * losses + [0] * same, np.int16)
    return candidate[None], best[None], np.zeros(wins + losses + same, np.int64)


@pytest.mark.parametrize(("level", "losses"), [(0.05, 10), (1e-3, 30), (1e-6, 60)])
def test_a_gain_is_never_found_where_the_exact_sign_test_does_not_find_it(level, losses):
    found = []
    for wins in range(losses, losses + 80):
        candidate, best, labels = make_answers(wins, losses, 1_000)
        p = binomtest(wins, wins + losses, alternative="greater").pvalue
        gain = find_gain(candidate == labels, best == labels, level)
        assert gain is None or p <= level
        found.append((p <= level, gain is not None))
    # The interval must agree, and costs little.
    assert sum(has_gain for _, has_gain in found) >= 0.8 * sum(is_sure for is_sure, _ in found) > 0


def test_a_named_gain_is_rounded_down_to_a_step():
    candidate, best, labels = make_answers(150, 20, 830)
    finding = judge(candidate, best, labels, Budget(20))
    assert (finding.answer, finding.differing) == ("better", 170)
    assert finding.gain in STEPS
    assert 0.01 <= finding.gain < 0.13


def test_a_near_copy_is_known_without_its_labels():
    budget = Budget(100)
    for wins in (0, budget.least_differing - 1):
        answers = [judge(*make_answers(*split, 500), budget).answer for split in ((wins, 0), (0, wins))]
        assert answers == ["too_similar", "too_similar"], "whether it is right does not matter"
    assert judge(*make_answers(budget.least_differing, 0, 500), budget).answer != "too_similar"


def test_seeds_that_disagree_are_no_gain():
    """One of three seeds gains much, and the others nothing: the luck of seeds counts as well as that of images."""
    best = np.zeros((3, 400), np.int16)
    labels = np.repeat([0, 1], 200)
    lucky = best.copy()
    lucky[0, 200:] = 1
    assert judge(lucky, best, labels, Budget(20)).answer == "cannot_tell"
    lucky[:, 200:] = 1
    lucky[1, 0] = lucky[2, 1] = 1
    assert judge(lucky, best, labels, Budget(20)).answer == "better"


def test_agents_that_only_guess_are_not_called_better_and_their_near_copies_are_not_judged():
    for name, agent in AGENTS.items():
        fooled, refused = count_fooled(30, 20, 200, 0.7, agent)
        assert fooled <= 1, name
        assert (refused > 300) == (name == "near copies")


def test_the_same_agents_climb_far_above_the_truth_on_a_leaderboard():
    world = make_simulated(200, 0.7, 0)
    shown = simulate(world, climb, 5, 50, ask_leaderboard)
    assert np.mean([outcome.told - outcome.true for outcome in shown]) > 0.05


@pytest.mark.proof
@pytest.mark.parametrize("name", AGENTS)
def test_at_most_5_of_100_of_1000_agents_that_only_guess_are_ever_called_better(name):
    fooled, _ = count_fooled(1_000, 50, 200, 0.7, AGENTS[name])
    assert fooled <= 50
