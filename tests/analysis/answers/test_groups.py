"""Metrics for each value of a column: what is a group, what is too few, and which group is surely worse."""

import csv
import io

import numpy as np
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics import balanced_accuracy_score, f1_score

from analysis.answers.answers import Answers, PredictionsRefused
from analysis.answers.external import diagnose_answers
from analysis.answers.file import read_predictions
from analysis.answers.groups import group_images, measure_groups
from analysis.answers.received import GivenSplit, receive_answers
from heldout.client.external_values import pack_npz
from heldout.diagnosis import Evaluation, diagnose
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.history import History
from heldout.documents.groups import build_groups
from heldout.documents.terminal import render_terminal
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec
from heldout.statistics import compute_lower_tail, compute_wilson_interval
from heldout.stored.evaluation import StoredColumn, StoredGroup


def answer(count: int, share: float, rng: np.random.Generator) -> Answers:
    labels = np.arange(count) % 2
    right = rng.random(count) < share
    return Answers.without_probabilities(labels, np.where(right, labels, 1 - labels))


def measure(values, answers: Answers) -> StoredColumn:
    [column] = measure_groups({"camera": values}, {"test": answers}, {"test": np.arange(len(answers))})["test"]
    return column


def show(groups) -> str:
    return "\n".join(render_terminal(build_groups(groups, 3), 160))


def find_worst(columns: dict[str, list[str]], answers: Answers, split: str = "test"):
    measured = measure_groups(columns, {split: answers}, {split: np.arange(len(answers))})
    figures = SplitFigures(float(answers.right.mean()), len(answers), columns=measured[split])
    found = diagnose(History(), None, Evaluation({split: figures}, ("cat", "dog")))
    return [finding for finding in found.findings if finding.code == "worst_group"]


def test_each_value_has_every_metric_of_its_images_with_intervals_that_hold_together():
    rng = np.random.default_rng(0)
    said = answer(600, 0.8, rng)
    values = [("A", "B", "C")[row // 2 % 3] for row in range(600)]
    column = measure(values, said)
    assert [group.value for group in column.groups] == ["A", "B", "C"]
    for group in column.groups:
        rows = np.array(values) == group.value
        labels, answers = said.labels[rows], said.classes[rows]
        assert group.metrics["accuracy"].value == pytest.approx((labels == answers).mean())
        expected = compute_wilson_interval(int((labels == answers).sum()), 200, 1 - 0.05 / 3)
        assert group.metrics["accuracy"].interval == pytest.approx(expected)
        assert group.metrics["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(labels, answers))
        assert group.metrics["macro_f1"].value == pytest.approx(f1_score(labels, answers, average="macro"))
        assert group.metrics["auroc"].value is None  # probabilities are unknown
    shown = show({"test": [column]})
    assert "By camera" in shown
    assert all(f"{group.right / group.count:.1%} (" in shown for group in column.groups)


def test_numbers_are_put_into_bins_and_other_columns_of_many_values_are_not_reported():
    ages = group_images([*map(str, range(80)), None])
    assert ages.names == ("0 to 19", "20 to 39", "40 to 59", "60 to 79")
    assert ages.of_image.tolist() == [*np.repeat(range(4), 20).tolist(), -1]
    assert group_images(["3", "10", "3.5", "10"]).names == ("3", "3.5", "10")
    patients = group_images([f"p{number}" for number in range(10_000)])
    assert (patients.names, patients.why) == ((), "It has 10,000 different values; at most 50 are reported.")


def test_a_group_of_two_images_has_no_figures():
    column = measure(["A"] * 98 + ["B"] * 2, answer(100, 0.5, np.random.default_rng(0)))
    assert column.groups[1].metrics == {}
    assert column.groups[1].why == "Too few to say: 20 images are needed."
    assert "too few to say" in show({"test": [column]})


@pytest.mark.parametrize(("group", "others"), [((171, 240), (930, 1000)), ((0, 20), (15, 20)), ((30, 30), (29, 30))])
def test_the_chance_of_a_group_is_that_of_fishers_exact_test(group, others):
    table = [[group[0], group[1] - group[0]], [others[0], others[1] - others[0]]]
    assert compute_lower_tail(group, others) == pytest.approx(fisher_exact(table, "less").pvalue, rel=1e-9)


def test_a_group_that_is_surely_worse_is_a_finding_with_points():
    groups = [
        StoredGroup(value=value, count=count, right=right, metrics={})
        for value, count, right in (("A", 1000, 930), ("B", 240, 171))
    ]
    figures = SplitFigures(1101 / 1240, 1240, columns=(StoredColumn(name="camera", groups=tuple(groups)),))
    found = diagnose(History(), None, Evaluation({"test": figures}, ("cat", "dog")))
    [finding] = [finding for finding in found.findings if finding.code == "worst_group"]
    assert finding.explanation == "Of 240 test images of camera 'B', 71.2% are right; of the others 93.0%."
    assert finding.evidence["points"] == pytest.approx(0.93 - 1101 / 1240)
    [cause] = [cause for cause in found.causes if cause.code == "worst_group"]
    assert cause.points == pytest.approx(0.93 - 1101 / 1240)
    assert found.groups == {"test": figures.columns}


@pytest.mark.parametrize(
    ("smallest", "spec", "is_proposed"),
    [(240, {}, True), (19, {}, False), (240, {"objective": "worst_group", "group_column": "camera"}, False)],
    ids=["large enough", "a group too small to judge by", "already judged by it"],
)
def test_a_group_that_is_worse_proposes_the_objective_as_a_patch_that_a_job_accepts(smallest, spec, is_proposed):
    counts = (("A", 1000, 930), ("B", 240, 171), ("C", smallest, smallest - 1))
    groups = tuple(StoredGroup(value=value, count=count, right=right, metrics={}) for value, count, right in counts)
    figures = SplitFigures(0.9, 1000, columns=(StoredColumn(name="camera", groups=groups),))
    plain = {"dataset": "digits", "network": {"blocks": [{"filters": 4}]}, "training": {"epochs": 1}}
    before = JobSpec.model_validate(plain | spec).model_dump(mode="json")
    measured = Evaluation({"validation": figures}, ("cat", "dog"))
    found = diagnose(History(), None, measured, before)
    [finding] = [finding for finding in found.findings if finding.code == "worst_group"]
    patches = [remedy.patch for remedy in finding.remedies if remedy.name == "objective"]
    assert patches == [{"objective": "worst_group", "group_column": "camera"}] * is_proposed
    assert ("Judge by the worst group" in found.summary) == is_proposed
    for patch in patches:
        assert JobSpec.model_validate(merge(before, patch)).is_about_groups


def count_null_findings(cases: int, seed: int) -> int:
    rng, found = np.random.default_rng(seed), 0
    for _ in range(cases):
        said = answer(int(rng.integers(80, 400)), rng.uniform(0.5, 0.98), rng)
        columns = {
            name: rng.choice(list("ABCDEFGH")[: rng.integers(2, 9)], len(said)).tolist() for name in ("site", "sex")
        }
        found += bool(find_worst(columns, said))
    return found


def test_columns_that_say_nothing_are_hardly_ever_reported_and_a_planted_one_is():
    assert count_null_findings(100, 0) <= 5
    rng = np.random.default_rng(1)
    said = answer(600, 0.95, rng)
    worse = answer(120, 0.6, rng)
    both = Answers.without_probabilities(
        np.concatenate([said.labels, worse.labels]), np.concatenate([said.classes, worse.classes])
    )
    [finding] = find_worst({"noise": rng.choice(["x", "y"], 720).tolist(), "camera": ["A"] * 600 + ["B"] * 120}, both)
    assert (finding.evidence["column"], finding.evidence["value"]) == ("camera", "B")


@pytest.mark.proof
def test_of_a_thousand_columns_that_say_nothing_at_most_fifty_are_reported():
    assert count_null_findings(1000, 2) <= 50


def draw_rows():
    """Rows of 800 test images: name, split, label, answer, camera and age. Camera B is answered worse."""
    rng = np.random.default_rng(0)
    for row in range(800):
        camera, label = "AB"[row % 4 == 0], ["cat", "dog"][row % 2 ^ row // 4 % 2]
        right = rng.random() < (0.6 if camera == "B" else 0.95)
        yield row, "test", label, label if right else ["cat", "dog"][label == "cat"], camera, row % 2 or None


def write_csv() -> bytes:
    lines = io.StringIO()
    csv.writer(lines).writerows([["file", "split", "label", "answer", "camera", "age"], *draw_rows()])
    return lines.getvalue().encode()


def write_npz(*, by_split: bool) -> bytes:
    _, split, label, answer, camera, age = (np.array(column) for column in zip(*draw_rows(), strict=True))
    age = age.astype(float)  # NaN where there is none
    file, before = io.BytesIO(), "test_" if by_split else ""
    arrays = {"labels": label, "answers": answer, "column_camera": camera, "column_age": age}
    np.savez(
        file, **{f"{before}{name}": array for name, array in arrays.items()} | ({} if by_split else {"split": split})
    )
    return file.getvalue()


def write_clients_npz() -> bytes:
    _, _, label, answer, camera, age = zip(*draw_rows(), strict=True)
    part = {"labels": np.array(label), "answers": answer, "columns": {"camera": camera, "age": age}}
    return pack_npz({"test": part})


@pytest.mark.parametrize(
    "file",
    [write_csv(), write_npz(by_split=True), write_npz(by_split=False), write_clients_npz()],
    ids=["csv", "npz", "npz with split", "client"],
)
def test_columns_of_external_answers_are_their_groups(file):
    found = diagnose_answers(read_predictions(io.BytesIO(file), 10**8), None)
    assert [(group.value, group.count) for group in found.groups["test"][1].groups] == [("1", 400)]
    assert found.groups["test"][1].without_value == 400
    assert [column.name for column in found.groups["test"]] == ["camera", "age"]
    assert [finding.evidence["value"] for finding in found.findings if finding.code == "worst_group"] == ["B"]


def test_columns_that_do_not_fit_the_images_are_refused_with_their_place():
    for columns, why in (
        ({"camera": ["A"]}, "received 1 value for 2 labels"),
        ({"camera": np.zeros((2, 2))}, "received an array of the shape (2, 2)"),
        ({f"c{number}": ["A", "B"] for number in range(51)}, "received 51 columns; expected at most 50"),
    ):
        with pytest.raises(PredictionsRefused) as refused:
            receive_answers({"test": GivenSplit([0, 1], answers=[0, 1], columns=columns)}, 2)
        assert why in str(refused.value)
        assert refused.value.path[:2] == ("test", "columns")
