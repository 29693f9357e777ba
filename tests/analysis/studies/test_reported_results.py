"""Recorded trainings that are reported as external give the same conclusions as the service's own studies."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from analysis.answers.answers import PredictionsRefused
from analysis.answers.received import ExternalAnswers, GivenSplit, receive_answers
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.reported_results import drop_test, explain_disagreement, read_reported_result
from analysis.studies.state import NextSteps, Scores, StudyRun, StudyState, complete_state
from analysis.studies.stored import unpack_arrays
from benchmarks.cures import replay
from benchmarks.cures.conditions import Condition
from benchmarks.cures.record import Training
from benchmarks.cures.studies import scores_of, state_of
from heldout.lifecycle.job import JobStatus

CLASSES = 10
CONDITIONS = [condition for condition in replay.conditions() if len(replay.remedies(condition)) > 1][:4]


def report_answers(training: Training) -> ExternalAnswers:
    """Make probabilities with the recorded losses and correct answers; every image's label is class 0."""
    of_label = np.exp(-training.losses.astype(np.float64))
    rest = np.where(training.correct, (1 - of_label) / (CLASSES - 1), 0.0)
    probabilities = np.repeat(rest[:, None], CLASSES, axis=1)
    probabilities[:, 0] = of_label
    probabilities[~training.correct, 1] = (1 - of_label)[~training.correct]
    labels = np.zeros(len(of_label), np.int32)
    ids = training.rows.astype(np.int64)
    return receive_answers({"validation": GivenSplit(labels, probabilities, hashes=ids)}, CLASSES)


def follow(state: StudyState, scores: Callable[[str, int], Scores], *, is_external: bool) -> NextSteps:
    """Give a study every training that it requests until it ends."""
    runs: list[StudyRun] = []
    while True:
        known = complete_state(state, runs, has_test=False) if is_external else state
        steps = decide_next_steps(known, runs)
        if not steps.submit:
            return steps
        runs += [
            StudyRun(key, f"{key.arm}-{key.seed}", JobStatus.SUCCEEDED, scores(key.arm, key.seed), seconds=1.0)
            for key in steps.submit
        ]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.key)
def test_reported_trainings_give_the_same_conclusion_as_own_trainings(condition: Condition):
    grid = replay.grid(condition)
    own = state_of(condition, [*replay.remedies(condition)])

    def report(arm: str, seed: int) -> Scores:
        training = grid[arm, seed]
        read = read_reported_result(report_answers(training), training.train_accuracy, training.train_loss).scores
        return replace(read, train_images=condition.train)

    expected = follow(own, lambda arm, seed: scores_of(condition, grid[arm, seed]), is_external=False)
    found = follow(replace(own, kind="external"), report, is_external=True)
    assert (found.conclusion.kind, found.conclusion.remedy) == (expected.conclusion.kind, expected.conclusion.remedy)
    for ours, theirs in zip(found.arms, expected.arms, strict=True):
        assert (ours.name, ours.status, ours.seeds) == (theirs.name, theirs.status, theirs.seeds)
        if theirs.difference is not None:
            assert ours.difference.accuracy == pytest.approx(theirs.difference.accuracy, abs=1e-6)
            assert ours.difference.adjusted_intervals.loss == pytest.approx(
                theirs.difference.adjusted_intervals.loss, abs=1e-4
            )
    assert found.refit is None


def answers(**splits: GivenSplit) -> ExternalAnswers:
    return receive_answers(splits, 3)


def split(labels: list[int], hashes: list[str] | None = None) -> GivenSplit:
    rows = np.full((len(labels), 3), 0.2) + 0.4 * np.eye(3)[labels]
    return GivenSplit(np.asarray(labels), rows, hashes=hashes)


def test_sealed_answers_are_the_test_answers_in_the_order_of_their_ids():
    first_run = read_reported_result(
        answers(validation=split([0, 1]), test=split([2, 1, 0], ["a", "b", "c"])), None, None
    )
    other = read_reported_result(answers(validation=split([0, 1]), test=split([0, 2, 1], ["c", "a", "b"])), None, None)
    first, second = unpack_arrays(first_run.sealed), unpack_arrays(other.sealed)
    assert all(np.array_equal(first[name], second[name]) for name in ("losses", "right"))
    assert drop_test(answers(validation=split([0]), test=split([1]))).splits.keys() == {"validation"}
    assert explain_disagreement(first_run.facts, other.facts, "run_1", ("validation", "test")) is None


def test_disagreeing_runs_say_what_differs():
    first_run = read_reported_result(answers(validation=split([0, 1])), None, None).facts
    longer = read_reported_result(answers(validation=split([0, 1, 2])), None, None).facts
    turned = read_reported_result(answers(validation=split([1, 0])), None, None).facts
    tested = read_reported_result(answers(validation=split([0, 1]), test=split([2])), None, None).facts
    other = {**first_run, "classes": ["cat", "dog"]}
    explanations = [
        explain_disagreement(other_run, first_run, "run_1", ("validation", "test"))
        for other_run in (longer, turned, tested, other)
    ]
    assert [
        part in str(text)
        for part, text in zip(("3 val", "another order", "has none", "classes"), explanations, strict=True)
    ] == [True] * 4


def test_answers_that_cannot_be_compared_are_refused():
    with pytest.raises(PredictionsRefused, match="no answers to validation"):
        read_reported_result(answers(test=split([0])), None, None)
    without = receive_answers({"validation": GivenSplit(np.array([0, 1]), answers=np.array([0, 1]))}, 3)
    with pytest.raises(PredictionsRefused, match="send the probabilities"):
        read_reported_result(without, None, None)
