"""The metrics that can decide: checked against scikit-learn, and their influences against leaving images out."""

import numpy as np
import pytest
from scipy.stats import binomtest, sem, t
from sklearn import metrics as sklearn

from analysis.answers.answers import Answers, Predictions
from analysis.answers.metrics import NotMeasurable, contribute, describe_metric, measure_split
from heldout.metrics import METRICS
from heldout.statistics import compute_wilson_interval

COSTS = [[0, 1, 4, 1, 1, 1, 0.7], [1, 0, 1, 1, 1, 9, 2], [5, 1, 0, 1, 1, 1, 0.7], [1, 1, 1, 0, 3, 1, 2]]
COSTS += [[1, 1, 1, 1, 0, 1, 0.7], [1, 2, 1, 1, 1, 0, 2]]


def make_answers(count=700, classes=6, seed=0):
    """Answers to images of which each class has half as many as the one before."""
    random = np.random.default_rng(seed)
    shares = 0.5 ** np.arange(classes)
    labels = random.choice(classes, count, p=shares / shares.sum()).astype(np.int32)
    logits = random.normal(0, 1, (count, classes))
    logits[np.arange(count), labels] += random.normal(1.0, 1.0, count)
    # Rounded, so that some probabilities are equal.
    probabilities = np.round(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), 2).astype(np.float32)
    losses = -np.log(np.maximum(probabilities[np.arange(count), labels], 1e-3))
    return Answers.to(labels, Predictions(probabilities, losses))


ANSWERS = make_answers()


def compute_reference(name, answers):
    labels, said, scores = answers.labels, answers.classes, answers.probabilities
    if name == "auroc":
        return np.mean([sklearn.roc_auc_score(labels == label, scores[:, label]) for label in np.unique(labels)])
    return {
        "accuracy": lambda: sklearn.accuracy_score(labels, said),
        "loss": lambda: answers.losses.mean(),
        "balanced_accuracy": lambda: sklearn.balanced_accuracy_score(labels, said),
        "macro_f1": lambda: sklearn.f1_score(labels, said, average="macro"),
        "top_5": lambda: sklearn.top_k_accuracy_score(labels, scores + 1e-6 * np.eye(6)[labels], k=5),
    }[name]()


@pytest.mark.parametrize("name", ["accuracy", "loss", "balanced_accuracy", "macro_f1", "auroc", "top_5"])
def test_a_metric_is_what_scikit_learn_computes_and_the_mean_of_what_the_images_contribute(name):
    found = contribute(name, ANSWERS)
    assert found.value == pytest.approx(compute_reference(name, ANSWERS), abs=1e-9)
    assert found.of_image.mean() == pytest.approx(found.value, abs=1e-9)


def test_the_worst_group_has_the_lowest_accuracy_and_images_without_a_value_do_not_count():
    groups = np.random.default_rng(1).choice([-1, 0, 2, 5], len(ANSWERS), p=[0.1, 0.5, 0.3, 0.1])
    said = ANSWERS.in_groups(groups)
    table = {group: (ANSWERS.right[groups == group].mean(), (groups == group).sum()) for group in (0, 2, 5)}
    usual = np.mean([share for share, _ in table.values()])
    expected = min((share * count + 5 * usual) / (count + 5) for share, count in table.values())
    found = measure_split(said)["worst_group"]
    assert found.value == pytest.approx(expected)
    others = {name: measured for name, measured in measure_split(said).items() if name != "worst_group"}
    assert others == measure_split(ANSWERS), "groups change no other metric"
    lowest = min(table.values())
    low, high = found.interval
    exact = binomtest(round(lowest[0] * lowest[1]), lowest[1]).proportion_ci(0.95)
    assert low <= exact.low + 1e-9
    assert high > exact.high
    few = np.where(np.arange(len(ANSWERS)) < 2, 1, 0)
    two = describe_metric("worst_group", contribute("worst_group", ANSWERS.in_groups(few)))
    assert (two.interval, two.why) == (
        None,
        "Too few to say: the smallest group has 2 images here; 20 are needed.",
    )
    for alone in (None, np.zeros(len(ANSWERS), np.int64), np.full(len(ANSWERS), -1)):
        with pytest.raises(NotMeasurable):
            contribute("worst_group", ANSWERS.in_groups(alone))


@pytest.mark.parametrize("name", [name for name in METRICS if not METRICS[name].is_minimum])
def test_contributions_say_how_the_metric_changes_without_an_image(name):
    """Leaving an image out moves the metric by its influence over the number of images, to first order."""
    found = contribute(name, ANSWERS, costs=COSTS)
    for image in range(0, len(ANSWERS), 50):
        others = contribute(name, ANSWERS.of(np.arange(len(ANSWERS)) != image), costs=COSTS).value
        influence = (found.of_image[image] - found.value) / len(ANSWERS)
        assert found.value - others == pytest.approx(influence, rel=0.15, abs=2e-5)


def test_contributions_are_as_spread_as_bootstraps_of_the_metric():
    random = np.random.default_rng(3)
    for name in ("balanced_accuracy", "macro_f1", "auroc"):
        found = contribute(name, ANSWERS)
        drawn = [contribute(name, ANSWERS.of(random.integers(0, 700, 700))).value for _ in range(300)]
        assert found.of_image.std() / 700**0.5 == pytest.approx(np.std(drawn), rel=0.2)


def test_the_worst_class_is_the_lowest_recall_and_few_images_of_one_count_less():
    labels = np.repeat([0, 1, 2], [100, 100, 2]).astype(np.int32)
    said = np.where(np.arange(202) < 60, 0, 1).astype(np.int64)
    said[-2:] = [2, 0]
    answers = Answers.without_probabilities(labels, said)
    recalls = sklearn.recall_score(labels, said, average=None)
    smoothed = (recalls * [100, 100, 2] + recalls.mean() * 5) / [105, 105, 7]
    assert contribute("worst_class", answers).value == pytest.approx(smoothed.min())
    # Two images of a class, one of them right, are no worse than 60 of 100 right.
    assert smoothed.argmin() == 0


def test_costs_are_those_of_the_answer_with_the_lowest_expected_cost_which_may_be_none():
    found, table = contribute("cost", ANSWERS, costs=COSTS), np.asarray(COSTS)
    chosen = [min(range(7), key=lambda answer: row @ table[:, answer]) for row in ANSWERS.probabilities.astype(float)]
    assert found.of_image.tolist() == table[ANSWERS.labels, chosen].tolist()
    assert 6 in chosen
    zero_one = 1 - np.eye(6)
    assert contribute("cost", ANSWERS, costs=zero_one).value == pytest.approx(1 - ANSWERS.right.mean(), abs=0.02)


def test_a_split_without_a_metric_says_why():
    one_class = ANSWERS.of(ANSWERS.labels == 0)
    for name in ("balanced_accuracy", "macro_f1", "worst_class", "auroc"):
        with pytest.raises(NotMeasurable, match="All images are of one class"):
            contribute(name, one_class)
    known = Answers.without_probabilities(ANSWERS.labels, ANSWERS.classes)
    with pytest.raises(NotMeasurable, match="needs probabilities"):
        contribute("auroc", known)
    with pytest.raises(NotMeasurable, match="4 rows; the images have 6 classes"):
        contribute("cost", ANSWERS, costs=[[0, 1, 1, 1]] * 4)
    with pytest.raises(NotMeasurable, match="every answer is among the first 5"):
        contribute("top_5", make_answers(classes=5))
    found = measure_split(known)
    assert found["auroc"].value is None
    assert found["auroc"].why == "It needs probabilities, and only the answers are known."
    assert "cost" not in found


@pytest.mark.parametrize(
    ("counts", "recalls"), [((67, 67), (1.0, 1.0)), ((67, 67), (0.99, 0.99)), ((30, 130), (0.97, 0.99))]
)
def test_an_interval_near_100_percent_is_about_as_narrow_as_that_of_an_accuracy_and_holds(counts, recalls):
    labels, random, held, widths = np.repeat([0, 1], counts), np.random.default_rng(0), 0, []
    for _ in range(200):
        right = random.random(len(labels)) < np.array(recalls)[labels]
        answers = Answers.without_probabilities(labels, np.where(right, labels, 1 - labels))
        low, high = describe_metric("balanced_accuracy", contribute("balanced_accuracy", answers)).interval
        held, widths = held + (low <= np.mean(recalls) <= high), [*widths, high - low]
    assert held >= 190
    usual = compute_wilson_interval(round(np.mean(recalls) * 4 * min(counts) / 2), 2 * min(counts))
    assert np.mean(widths) < 1.6 * (usual[1] - usual[0])


def test_a_class_of_one_image_does_not_widen_the_interval_of_a_mean():
    one = ANSWERS.of(np.concatenate([np.flatnonzero(ANSWERS.labels != 5), np.flatnonzero(ANSWERS.labels == 5)[:1]]))
    found = describe_metric("loss", contribute("loss", one)).interval
    assert found == pytest.approx(t.interval(0.95, len(one) - 1, one.losses.mean(), sem(one.losses)), abs=0.002)
    assert describe_metric("loss", contribute("loss", ANSWERS.of(np.arange(2)))).interval[0] == 0


def test_an_interval_needs_twenty_images_of_the_rarest_class():
    few = ANSWERS.of(np.concatenate([np.flatnonzero(ANSWERS.labels != 5), np.flatnonzero(ANSWERS.labels == 5)[:6]]))
    found = measure_split(few)
    assert found["balanced_accuracy"].interval is None
    assert found["balanced_accuracy"].why == "Too few to say: the rarest class has 6 images here; 20 are needed."
    assert found["top_5"].interval is not None
    enough = describe_metric("worst_class", contribute("worst_class", make_answers(5000)))
    assert enough.why is None
    assert enough.interval[0] < enough.value < enough.interval[1]
