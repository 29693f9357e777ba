"""What a study does next, given simulated trainings with a known truth."""

import random
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from analysis.studies import planning
from analysis.studies import state as states
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.state import Arm, NextSteps, Purpose, RunKey, Scores, StudyRun
from benchmarks.studies.simulated import Trainings, World, follow, state_of
from heldout.lifecycle.job import JobStatus
from heldout.views.study_figures import IntervalsView
from heldout.words.labels import describe_remedy
from heldout.words.studies import explain_arm

ARMS = ("base", "dropout", "l2", "horizontal_flip")
NOISE = dict.fromkeys((*ARMS, "dropout+l2"), 0.005)
# Dropout helps, L2 helps less, and the flip harms.
CURABLE = World(
    ARMS,
    1000,
    accuracy={"dropout": 0.06, "l2": 0.02, "horizontal_flip": -0.1},
    loss={"dropout": -0.4, "l2": -0.1, "horizontal_flip": 0.4},
    seed_noise=NOISE,
)


def arms_of(steps: NextSteps) -> dict[str, tuple[str, int, str | None]]:
    return {arm.name: (arm.status, arm.seeds, arm.why) for arm in steps.arms}


def done(scores: Mapping[RunKey, Scores]) -> list[StudyRun]:
    return [StudyRun(key, f"job {key}", JobStatus.SUCCEEDED, score) for key, score in scores.items()]


def test_a_cure_is_confirmed_on_fresh_seeds_and_others_are_dropped_with_a_reason() -> None:
    steps, runs = follow(state_of(CURABLE, 3), Trainings(CURABLE, 1).scores)

    assert steps.status == "succeeded"
    assert (steps.conclusion.kind, steps.conclusion.remedy) == ("cure", "dropout")
    assert arms_of(steps)["base"] == ("finished", 5, None)
    assert arms_of(steps)["dropout"] == ("finished", 5, None)
    assert arms_of(steps)["l2"] == ("dropped", 3, '"dropout" is clearly better.')
    status, seeds, why = arms_of(steps)["horizontal_flip"]
    assert (status, seeds) == ("dropped", 3)
    assert why.startswith("Worse than the base")
    assert len(runs) == 4 * 3 + 2 * 2
    assert "2 fresh seeds" in steps.conclusion.explanation


def test_the_text_of_a_conclusion_contains_the_figures_of_its_arm() -> None:
    steps, _ = follow(state_of(CURABLE, 3), Trainings(CURABLE, 1).scores)

    base, winner = steps.arms[0].validation, steps.arms[1].validation
    difference = steps.arms[1].difference
    text = steps.conclusion.explanation
    assert difference.accuracy == pytest.approx(winner.accuracy - base.accuracy)
    assert f"accuracy rises by {100 * difference.accuracy:.1f} points" in text
    assert f"from {100 * base.accuracy:.1f}% to {100 * winner.accuracy:.1f}%" in text
    assert f"loss falls by {-100 * difference.loss / base.loss:.1f}%" in text
    low = difference.adjusted_intervals.accuracy[0]
    assert f"accuracy rises by at least {100 * low:.1f} points" in text


def test_the_order_of_completion_changes_nothing_and_nothing_is_requested_twice() -> None:
    state = state_of(CURABLE, 3)
    steps, runs = follow(state, Trainings(CURABLE, 1).scores)
    shuffled = list(runs.values())
    random.Random(0).shuffle(shuffled)

    again = decide_next_steps(state, shuffled)

    assert again.arms == steps.arms
    assert again.conclusion == steps.conclusion
    assert again.submit == ()
    first = decide_next_steps(state, [])
    waiting = [StudyRun(key, str(key), JobStatus.QUEUED) for key in first.submit]
    assert len(waiting) == first.planned == 12
    assert decide_next_steps(state, waiting).submit == ()


def test_a_failed_base_fails_the_study_and_a_failed_arm_is_dropped() -> None:
    state, trainings = state_of(CURABLE, 3), Trainings(CURABLE, 1)
    runs = done({key: trainings.scores(key) for key in decide_next_steps(state, []).submit})

    def with_failure(arm: str) -> NextSteps:
        broken = RunKey(arm, Purpose.RACE, 1)
        return decide_next_steps(
            state, [StudyRun(r.key, r.job, JobStatus.FAILED, error="diverged") if r.key == broken else r for r in runs]
        )

    failed = with_failure("base")
    assert failed.status == "failed"
    assert failed.error[0] == "base_failed"
    assert "seed number 2 failed (`diverged`)" in failed.error[1]
    steps = with_failure("l2")
    assert steps.status == "running"
    assert arms_of(steps)["l2"] == ("dropped", 0, "Its training with seed number 2 failed (`diverged`).")
    assert {key.arm for key in steps.submit} == {"base", "dropout"}


def test_base_and_winner_are_tested_once_before_the_refit() -> None:
    trainings = Trainings(CURABLE, 1)
    unseen = Trainings(CURABLE, 2)  # other images
    asked = []

    def tested(jobs: list[str]) -> states.TestScores:
        asked.append(jobs)
        scores = {job: unseen.scores(RunKey(job.split("_")[1], Purpose.RACE, int(job.split("_")[3]))) for job in jobs}
        return states.TestScores({j: s.losses for j, s in scores.items()}, {j: s.right for j, s in scores.items()})

    steps, runs = follow(state_of(CURABLE, 3, has_test=True), trainings.scores, tested)

    [jobs] = asked
    assert len(jobs) == 10
    test = steps.conclusion.test
    rights = [unseen.scores(RunKey("dropout", Purpose.RACE, seed)).right.mean() for seed in range(5)]
    assert test.winner.accuracy == pytest.approx(np.mean(rights))
    assert test.winner.count == 1000
    rise = f"accuracy rises by {100 * test.difference.accuracy:.1f} points"
    assert f"On the 1,000 test images, which had no part in any choice, {rise}" in steps.conclusion.explanation
    epochs = [run.scores.kept_epoch for key, run in runs.items() if key.arm == "dropout" and run.scores]
    assert (steps.refit.arm, steps.refit.epochs) == ("dropout", np.median(epochs))
    assert steps.refit.patch == {"training": {"note": "dropout"}}


def test_a_smaller_gap_with_worse_validation_results_is_not_a_cure() -> None:
    world = World(("base", "smaller"), 2000, accuracy={"smaller": -0.05}, loss={"smaller": 0.3}, seed_noise=NOISE)
    trainings = Trainings(world, 0)

    def scores(key: RunKey) -> Scores:
        own = trainings.scores(key)
        return replace(own, train_accuracy=0.72) if key.arm == "smaller" else own

    steps, _ = follow(state_of(world, 3), scores)

    assert steps.conclusion.kind == "nothing_helped"
    assert "Its gap to training is smaller, but only because training is worse too" in (steps.arms[1].why or "")


def test_the_answer_speaks_of_compared_remedies_and_names_those_that_failed() -> None:
    world = World(("base", "smaller", "other"), 2000, accuracy={"smaller": -0.05}, loss={"smaller": 0.3})
    state, trainings = state_of(world, 3), Trainings(world, 0)
    runs = done({key: trainings.scores(key) for key in decide_next_steps(state, []).submit})
    runs = [StudyRun(run.key, run.job, JobStatus.FAILED) if run.key.arm == "other" else run for run in runs]

    conclusion = decide_next_steps(state, runs).conclusion

    assert conclusion.kind == "nothing_helped"
    assert conclusion.explanation == '"smaller" does not help. "smaller" makes it worse. "other" could not be compared.'


def test_a_remedy_is_called_harmful_only_if_its_adjusted_interval_shows_it() -> None:
    reasons = set()
    for harm in (-0.012, -0.02, -0.05):
        arms = ("base", "smaller", "other")
        world = World(arms, 2000, accuracy={"smaller": harm}, seed_noise=dict.fromkeys(arms, 0.002))
        for seed in range(6):
            steps, _ = follow(state_of(world, 3), Trainings(world, seed).scores)
            assert steps.conclusion.kind != "cure"
            for arm in steps.arms[1:]:
                bounds = arm.difference.adjusted_intervals
                is_sure = bounds.accuracy[1] < 0 or bounds.loss[0] > 0
                harmful = re.search(r'(["a-z ]+) makes? it worse\.', steps.conclusion.explanation)
                assert bool(harmful and f'"{describe_remedy(arm.name)}"' in harmful[1]) == is_sure
                assert (arm.why or "").startswith("Worse than the base") == is_sure
                reasons |= {word for word in ("Worse", "Probably worse") if (arm.why or "").startswith(word)}
    assert reasons == {"Worse", "Probably worse"}


@pytest.mark.parametrize(("both", "wins"), [(0.06, "dropout"), (0.2, "dropout+l2")])
def test_a_combination_beats_a_part_that_cures_only_if_it_is_clearly_better(both: float, wins: str) -> None:
    names = ("base", "dropout", "l2", "dropout+l2")
    world = replace(
        CURABLE, arms=names, accuracy={"dropout": 0.06, "dropout+l2": both}, loss={"dropout": -0.4, "dropout+l2": -0.41}
    )
    state = state_of(world, 3)
    arms = (*state.arms[:3], Arm("dropout+l2", {}, parts=("dropout", "l2")))
    steps, _ = follow(replace(state, arms=arms), Trainings(world, 3).scores)

    assert steps.conclusion.remedy == wins
    if wins == "dropout+l2":
        assert 'It is clearly better than "dropout" alone.' in steps.conclusion.explanation


def test_a_search_chooses_and_is_judged_on_different_seeds() -> None:
    world = World(("base", "retune"), 600, seed_noise=NOISE)
    trainings = Trainings(world, 0)
    better = Trainings(replace(world, accuracy={"retune": 0.1}, loss={"retune": -0.4}), 0)
    candidates = ({"rate": 1}, {"rate": 2}, {"rate": 3})
    state = replace(state_of(world, 3), arms=(Arm("base", {}), Arm("retune", {}, candidates=candidates)))

    def scores(key: RunKey) -> Scores:
        is_tuned = key.arm == "retune" and (key.variant == 1 or key.purpose is Purpose.RACE)
        return (better if is_tuned else trainings).scores(key)

    steps, runs = follow(state, scores)

    judged = {key.seed for key in runs if key.purpose is Purpose.RACE}
    tuned = {key.seed for key in runs if key.purpose is Purpose.TUNE}
    assert judged.isdisjoint(tuned)
    assert steps.patches == {"retune": {"rate": 2}}
    assert steps.arms[1].patch == {"rate": 2}
    assert steps.refit.patch == {"rate": 2}


def test_each_seed_gets_its_own_fold_and_a_search_uses_other_folds() -> None:
    world = World(("base", "retune"), 60, folds=10)
    state = replace(state_of(world, 3), arms=(Arm("base", {}), Arm("retune", {}, candidates=({"rate": 1},))))

    def folds(state: states.StudyState, arm: str) -> list[tuple[int, int | None, int]]:
        return [(key.seed, key.fold, key.fold_seed) for key in decide_next_steps(state, []).submit if key.arm == arm]

    assert folds(state, "base") == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]
    assert folds(state, "retune") == [(8, 8, 0), (9, 9, 0)]
    assert folds(replace(state, folds=2), "base") == [(0, 0, 0), (1, 1, 0), (2, 0, 1)]


@pytest.mark.parametrize(("budget", "trainings", "kind"), [(13, 12, "cure"), (17, 16, "cure")])
def test_the_refit_stays_within_the_budget(budget: int, trainings: int, kind: str) -> None:
    steps, runs = follow(state_of(CURABLE, 3, max_jobs=budget), Trainings(CURABLE, 1).scores)
    assert (steps.conclusion.kind, len(runs)) == (kind, trainings)
    assert len(runs) + (steps.refit is not None) <= budget
    confirmed = re.search("2 fresh seeds", steps.conclusion.explanation)
    assert bool(confirmed) == (trainings == 16)


def test_a_time_budget_ends_the_race_and_a_budget_too_small_for_a_look_is_refused() -> None:
    steps, runs = follow(state_of(CURABLE, 3, max_seconds=14.0), Trainings(CURABLE, 1).scores)
    assert steps.status == "succeeded"
    assert len(runs) == 12
    refused = decide_next_steps(state_of(CURABLE, 3, max_jobs=11), [])
    assert refused.status == "failed"
    assert refused.error == ("budget_too_small", "The first look takes 12 trainings; the budget allows 11.")


def test_the_images_that_a_study_requests_are_enough() -> None:
    """An arm gains 4 points on too few images. With the requested images, it is a cure."""
    world = World(("base", "dropout"), 200, accuracy={"dropout": 0.04}, seed_noise=NOISE)
    steps, _ = follow(state_of(world, 3), Trainings(world, 4).scores)
    assert steps.conclusion.kind == "cannot_tell"
    needs = steps.conclusion.needs
    assert needs.seeds is None
    assert f"About {needs.images:,} more validation images would probably tell" in steps.conclusion.explanation
    larger = replace(world, images=200 + needs.images)
    found = [follow(state_of(larger, 3), Trainings(larger, seed).scores)[0].conclusion for seed in range(12)]
    assert sum(conclusion is not None and conclusion.kind == "cure" for conclusion in found) >= 6


def test_a_base_that_fails_at_a_later_look_keeps_the_result_of_the_previous_look() -> None:
    state, trainings = state_of(CURABLE, 3), Trainings(CURABLE, 1)
    runs = done({key: trainings.scores(key) for key in decide_next_steps(state, []).submit})
    runs += done({key: trainings.scores(key) for key in decide_next_steps(state, runs).submit})
    runs = [StudyRun(r.key, r.job, JobStatus.FAILED) if (r.key.arm, r.key.seed) == ("base", 3) else r for r in runs]

    steps = decide_next_steps(state, runs)

    assert steps.status == "succeeded"
    assert (steps.arms[0].seeds, steps.conclusion.remedy) == (3, "dropout")
    assert "No new seeds have confirmed it." in steps.conclusion.explanation
    assert "Its training with seed number 4 failed." in steps.conclusion.explanation


def test_a_first_answer_gives_more_seeds_only_to_the_leader_and_says_how_to_go_on() -> None:
    unclear = replace(CURABLE, accuracy={"dropout": 0.012, "l2": 0.006}, loss={}, seed_noise=dict.fromkeys(ARMS, 0.02))
    state = state_of(unclear, 3, stages=(4,), left_out=("ema", "retune"))
    first = decide_next_steps(state, [])
    assert (first.planned, first.most) == (12, 12 + 4 + 1)  # with the training of a cure on all images

    steps, runs = follow(state, Trainings(unclear, 3).scores)

    assert steps.conclusion.kind == "cannot_tell"
    assert len(runs) == 16
    assert {key.arm for key in runs if key.seed >= 3} == {"base", "dropout"}
    held = [arm for arm in steps.arms if arm.why is not None and arm.why.startswith("It may still help.")]
    assert [arm.name for arm in held] == ["l2"]
    text = steps.conclusion.explanation
    assert text.startswith("Cannot tell yet whether any of the 3 remedies helps.")
    assert "Continue the study to tell more. That adds more seeds for the remedies that may still help and" in text
    assert '("averaged weights" and "tuned learning rate")' in text

    again, longer = follow(replace(state, stages=(4, 4)), Trainings(unclear, 3).scores, there=runs)
    assert runs.items() <= longer.items()
    assert max(arm.seeds for arm in again.arms) == 8
    assert not any(arm.why and "It may still help" in arm.why for arm in again.arms)


def test_a_first_look_alone_names_no_winner_of_a_study_that_can_be_continued() -> None:
    trainings = Trainings(CURABLE, 1)
    alone, _ = follow(state_of(CURABLE, 3, max_jobs=14), trainings.scores)
    assert alone.conclusion.remedy == "dropout"  # as the only look of a study that ends there

    first, runs = follow(state_of(CURABLE, 3, max_jobs=14, stages=(4,)), trainings.scores)

    assert len(runs) == 12
    assert first.conclusion.kind == "cannot_tell"
    assert "no new seeds have confirmed it" in first.conclusion.explanation
    then, _ = follow(state_of(CURABLE, 3, stages=(4, 4)), trainings.scores, there=runs)
    assert (then.conclusion.kind, then.conclusion.remedy) == ("cure", "dropout")


def test_the_errors_of_a_continued_study_add_up_to_those_of_one_that_is_planned_at_once() -> None:
    for errors in planning.LOOK_ERRORS.values():
        assert sum(errors) == pytest.approx(0.05)
    assert sum(sum(errors) for errors in planning.STAGE_ERRORS) == pytest.approx(0.05)
    stages = planning.plan_stages(state_of(CURABLE, 3, stages=(3, 3, 4)))
    spent = [look.error for stage in stages for look in stage.looks]
    assert sum(spent) == pytest.approx(0.05)
    # Each stage divides its errors among all arms that it knows, even if some of them have been dropped.
    assert [planning.count_comparisons(state_of(CURABLE, 3), stage.arms) for stage in stages] == [4, 4, 6]


def test_two_seeds_show_no_range_unless_it_proves_something() -> None:
    noisy = replace(CURABLE, accuracy={}, loss={}, seed_noise=dict.fromkeys(ARMS, 0.05))
    trainings = Trainings(noisy, 1)
    looked = done({key: trainings.scores(key) for key in decide_next_steps(state_of(noisy, 2), []).submit})
    steps = decide_next_steps(state_of(noisy, 2), looked)
    assert all(arm.seeds == 2 for arm in steps.arms)
    for arm in steps.arms[1:]:
        assert arm.difference.accuracy is not None
        assert arm.difference.adjusted_intervals == arm.difference.intervals == IntervalsView()
        assert explain_arm(arm).endswith("(too few seeds for a range).")

    clear = replace(CURABLE, accuracy={"horizontal_flip": -0.4}, loss={"horizontal_flip": 3.0}, seed_noise={})
    trainings = Trainings(clear, 1)
    looked = done({key: trainings.scores(key) for key in decide_next_steps(state_of(clear, 2), []).submit})
    flip = decide_next_steps(state_of(clear, 2), looked).arms[3]
    assert flip.difference.adjusted_intervals.accuracy[1] < 0
