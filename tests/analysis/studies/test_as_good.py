"""Studies that ask whether a network is as good as the base within a margin."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from analysis.studies import state as states
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.state import Arm, Purpose, RunKey, Scores, StudyRun, StudyState
from analysis.studies.stored import StudyPlan
from benchmarks.studies.simulated import Trainings, World, follow, state_of
from heldout.lifecycle.job import JobStatus
from heldout.studies.external import ExternalStudySpec
from heldout.studies.spec import StudySpec

NOISE = 0.002


@dataclass(frozen=True)
class SizedArm(Arm):
    parameters: int = 0

    @property
    def size(self) -> int:
        return self.parameters


def make_world(*differences, images=20_000):
    names = ("base", *(f"arm {number}" for number in range(len(differences))))
    accuracy = dict(zip(names[1:], differences, strict=True))
    return World(names, images, accuracy, {}, dict.fromkeys(names, NOISE), agreement=0.9, own_agreement=0.05)


def decide(world, seed=1, margin=0.01, tested=None, **changes):
    state = state_of(world, 3, objective="accuracy", margin=margin, **changes)
    return follow(state, Trainings(world, seed).scores, tested)


def test_each_arm_is_as_good_or_worse_or_the_study_cannot_tell():
    steps, runs = decide(make_world(0.0, -0.04, -0.01))
    good, worse, close = steps.arms[1:]
    assert (good.answer, worse.answer, close.answer) == ("as_good", "worse", "cannot_tell")
    assert (good.status, worse.status) == ("finished", "dropped")
    low, high = good.difference.adjusted_intervals.accuracy
    assert low > -0.01
    assert worse.difference.adjusted_intervals.accuracy[1] < -0.01
    signed = [f"{100 * bound:+.1f}".replace("-", "−") for bound in (low, high)]
    assert good.why == f"As good within 1 point ({signed[0]} to {signed[1]})."
    assert worse.why.startswith("Worse by more than 1 point (")
    assert close.why.startswith("Cannot tell whether it is as good within 1 point (")
    assert (steps.conclusion.kind, steps.conclusion.remedy) == ("as_good", "arm 0")
    # Only the arm that is still open has all seeds.
    assert max(key.seed for key in runs if key.arm == "arm 2") == 7
    assert good.seeds <= 8


def test_a_wider_margin_answers_what_a_narrow_one_cannot():
    world = make_world(-0.008)
    assert decide(world, margin=0.005)[0].conclusion.kind != "as_good"
    assert decide(world, margin=0.03)[0].conclusion.kind == "as_good"


def test_the_smallest_network_of_those_that_are_as_good_is_named():
    world = make_world(0.0, 0.0, -0.05)
    arms = (SizedArm("base", {}, parameters=900), SizedArm("arm 0", {}, parameters=400))
    arms += (SizedArm("arm 1", {}, parameters=100), SizedArm("arm 2", {}, parameters=10))
    steps, _ = decide(world, arms=arms)
    assert steps.conclusion.remedy == "arm 1"
    assert '"arm 1" is the smallest of those that are as good.' in steps.conclusion.explanation
    assert [arm.parameters for arm in steps.arms] == [900, 400, 100, 10]
    assert [arm.seconds for arm in steps.arms] == [1.0] * 4


def test_it_meets_test_images_once_and_is_trained_on_all_images():
    world, asked = make_world(0.0), []
    unseen = Trainings(world, 2)

    def test(jobs):
        asked.append(jobs)
        scores = {job: unseen.scores(RunKey(job.split("_")[1], Purpose.RACE, int(job.split("_")[3]))) for job in jobs}
        return states.TestScores(
            {job: run.losses for job, run in scores.items()}, {job: run.right for job, run in scores.items()}
        )

    steps, _ = decide(world, tested=test, has_test=True)
    assert len(asked) == 1
    assert "On the 20,000 test images, which had no part in any choice, accuracy" in steps.conclusion.explanation
    assert steps.refit.arm == "arm 0"


def test_all_arms_worse_and_none_to_tell_are_answers():
    assert decide(make_world(-0.05, -0.06))[0].conclusion.kind == "worse"
    steps, _ = decide(make_world(-0.004, images=300))
    assert steps.conclusion.kind == "cannot_tell"
    assert steps.conclusion.needs.seeds or steps.conclusion.needs.images
    assert "would probably tell" in steps.conclusion.explanation


def test_an_arm_that_failed_is_named():
    images = np.arange(100, dtype=np.int32)

    def make_run(arm, seed, status=JobStatus.SUCCEEDED):
        scores = Scores(images, np.full(100, 0.5, np.float32), images < 90, 0.1, 0.9)
        return StudyRun(RunKey(arm, Purpose.RACE, seed), f"{arm}{seed}", status, scores)

    arms = (Arm("base", {}), Arm("small", {}), Arm("broken", {}))
    state = StudyState("external", arms, 3, None, 0, 100, has_test=False, max_jobs=9, objective="accuracy", margin=0.1)
    failed = replace(make_run("broken", 0), status=JobStatus.FAILED, scores=None)
    runs = [make_run(arm, seed) for arm in ("base", "small") for seed in range(3)]
    steps = decide_next_steps(state, [*runs, failed])
    assert '"broken" could not be compared.' in steps.conclusion.explanation


@pytest.mark.parametrize(
    ("order", "why"),
    [
        ({"question": "as_good"}, "needs `remedies`"),
        ({"margin": 0.02, "remedies": ["l2"], "objective": "loss"}, "compares shares, and `loss` is not one"),
        ({"margin": 0.02, "remedies": ["l2"], "extent": "first"}, "leave `extent` out"),
        ({"margin": 0.6, "remedies": ["l2"]}, "less than or equal to 0.5"),
        ({"margin": 0.01, "kind": "learning_curve"}, "needs `remedies`"),
    ],
)
def test_orders_that_make_no_sense_are_refused(order, why):
    with pytest.raises(ValueError, match=why):
        StudySpec.model_validate({"job": "job_1", **order})


def test_the_margin_is_kept_with_the_plan():
    arms = [{"name": "base"}, {"name": "small"}]
    assert ExternalStudySpec.model_validate({"kind": "external", "arms": arms, "question": "as_good"}).margin is None
    state = state_of(make_world(0.0), 3, margin=0.02)
    plan = StudyPlan("external", (), 3, None, 0, 0, has_test=False, margin=state.margin)
    assert StudyPlan.from_json(plan.to_json()).margin == 0.02


@pytest.mark.proof
def test_a_network_that_is_worse_by_the_margin_is_called_as_good_in_at_most_5_of_100_studies():
    world = make_world(-0.01, -0.01, images=2000)
    named = sum(decide(world, seed=seed)[0].conclusion.kind == "as_good" for seed in range(200))
    assert named <= 16
