"""The diagnosis of the counts of the kept weights on each split, with healthy curves."""

import pytest
from statsmodels.stats.proportion import proportion_confint

from heldout.diagnosis import Evaluation, Finding, History, diagnose
from heldout.diagnosis.evaluation import SplitFigures
from heldout.stored.audit import AuditFinding, Severity
from tests.heldout.diagnosis.made import FINE, OVERFIT, RANDOM_LABELS, compare_last, figures, history, spec


def of(train: SplitFigures, validation: SplitFigures, test: SplitFigures, classes: int = 10) -> dict[str, str]:
    evaluation = Evaluation(
        {"train": train, "validation": validation, "test": test}, tuple(f"class {n}" for n in range(classes))
    )
    return {finding.code: finding.severity for finding in diagnose(FINE, None, evaluation).findings}


def test_a_test_worse_than_validation_is_a_split_shift_and_not_overfitting():
    found = of(figures(0.99, 5000), figures(0.97, 1000), figures(0.70, 1000))
    assert found["split_shift"] == "critical"
    assert "overfitting" not in found
    assert "split_shift" not in of(figures(0.99, 5000), figures(0.97, 1000), figures(0.96, 1000))
    assert "split_shift" not in of(figures(0.99, 5000), figures(0.9, 30), figures(0.8, 30))  # too few to say


def test_a_test_better_than_validation_is_a_leak_only_if_training_is_as_good():
    """Copies are answered as well as training images, so they cannot raise test above training."""
    for leaked in (0.93, 0.99):
        assert of(figures(0.99, 5000), figures(0.85, 1000), figures(leaked, 1000))["leakage"] == "warning"
    assert "leakage" not in of(figures(0.90, 5000), figures(0.85, 1000), figures(0.93, 1000))
    assert "leakage" not in of(figures(0.86, 5000), figures(0.85, 1000), figures(0.93, 1000))


def test_a_low_training_accuracy_is_underfitting_only_after_training_has_settled():
    guessing = Evaluation(
        {"train": figures(0.2, 500), "validation": figures(0.18, 200)}, tuple(f"class {n}" for n in range(10))
    )
    flat = [2.2] * 12
    [settled] = [
        finding for finding in diagnose(history(flat, flat), None, guessing).findings if finding.severity != "info"
    ]
    assert settled.code == "underfitting"
    still_falling = history([2.3 - 0.03 * epoch for epoch in range(12)], flat)
    [early] = [finding for finding in diagnose(still_falling, None, guessing).findings if finding.severity != "info"]
    assert early.code == "not_converged"
    assert "only 20.0%" in early.explanation


def test_a_renamed_test_is_recognized_by_its_confusion_matrix():
    rows = tuple(tuple(95 if answer == (label + 1) % 5 else 1 for answer in range(5)) for label in range(5))
    right = tuple(tuple(95 if answer == label else 1 for answer in range(5)) for label in range(5))
    evaluation = Evaluation(
        {"validation": figures(0.96, 495, right), "test": figures(0.01, 495, rows)}, ("a", "b", "c", "d", "e")
    )
    diagnosis = diagnose(FINE, None, evaluation)
    assert diagnosis.verdict == "label_order_mismatch"
    assert diagnosis.findings[0].evidence["renamed"] == {"a": "b", "b": "c", "c": "d", "d": "e", "e": "a"}
    assert "split_shift" not in {finding.code for finding in diagnosis.findings}


def test_a_class_that_is_never_named_has_collapsed():
    rows = ((100, 0, 0), (0, 100, 0), (90, 8, 2))
    evaluation = Evaluation({"test": figures(202 / 300, 300, rows)}, ("a", "b", "c"))
    [finding] = [finding for finding in diagnose(FINE, None, evaluation).findings if finding.code == "collapsed_class"]
    assert (finding.severity, finding.evidence["class"], finding.evidence["recall"]) == ("critical", "c", 0.02)


def test_a_small_test_finding_says_how_many_images_are_enough():
    [finding] = [
        finding
        for finding in diagnose(FINE, None, Evaluation({"test": figures(0.9, 50)}, ("a", "b"))).findings
        if finding.code == "test_too_small"
    ]
    assert finding.severity == "warning"
    assert finding.evidence["needed"] == 868


@pytest.mark.parametrize(("right", "count"), [(45, 50), (109, 110), (140, 142), (1, 30), (25, 50)])
def test_the_suggested_number_of_images_is_enough_and_one_fewer_is_not(right, count):
    [finding] = found_in(FINE, {"test": figures(right / count, count)}, "test_too_small")
    needed = finding.evidence["needed"]
    assert needed > count

    def half(total: int) -> float:
        low, high = proportion_confint(total * right / count, total, method="wilson")
        return (high - low) / 2

    assert half(needed) <= 0.02 < half(needed - 1)


def test_the_cause_closest_to_the_data_gives_the_verdict():
    seen = [("label_conflicts", "critical"), ("leakage", "critical"), ("blank_images", "critical")]
    audit = [finding for code, severity in seen for finding in audit_of(code, severity)]
    diagnosis = diagnose(OVERFIT, audit)
    assert [finding.code for finding in diagnosis.findings] == ["leakage", "label_conflicts", "overfitting"]
    assert diagnosis.verdict == "leakage"


# --- what the labels are ------------------------------------------------------------------------------


def found_in(
    training: History, splits: dict[str, SplitFigures], code: str, classes: int = 2, **others
) -> list[Finding]:
    evaluation = Evaluation(splits, tuple(f"class {n}" for n in range(classes)))
    return [finding for finding in diagnose(training, None, evaluation, **others).findings if finding.code == code]


def test_memorized_training_images_with_validation_at_chance_are_memorized_noise():
    counts = {"train": figures(0.99, 500), "validation": figures(0.11, 500)}
    [finding] = found_in(RANDOM_LABELS, counts, "memorised_noise", 10)
    assert finding.severity == "critical"
    assert finding.evidence["chance"] == 0.1


def test_a_network_that_was_once_better_than_guessing_has_real_labels():
    """Guessing among ten classes has a loss of 2.303. Too few or too hard images are soon memorized, too."""
    counts = {"train": figures(0.99, 500), "validation": figures(0.11, 500)}
    lower = list(RANDOM_LABELS.validation_loss)
    lower[2] = 2.28
    learned = history(list(RANDOM_LABELS.train_loss), lower)
    assert found_in(learned, counts, "memorised_noise", 10) == []
    # Where one class has most images, guessing has a lower loss (0.33 with nine of ten), which says nothing.
    unequal = figures(0.9, 2000, ((1795, 5), (195, 5)))
    counts = {"train": figures(0.999, 1000, ((900, 0), (1, 99))), "validation": unequal}
    curve = history(list(RANDOM_LABELS.train_loss), [0.33 + 0.01 * epoch for epoch in range(40)])
    assert len(found_in(curve, counts, "memorised_noise")) == 1


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (figures(0.97, 200), figures(0.7, 20)),  # neither proven to be above chance nor to be at chance
        (figures(0.99, 200), figures(1.0, 1)),
        # The network predicts the class of nine of ten images.
        (figures(0.9, 1000, ((900, 0), (100, 0))), figures(0.9, 2000, ((1800, 0), (200, 0)))),
        (figures(0.99, 950, ((900, 0), (10, 40))), figures(0.97, 95, ((90, 0), (3, 2)))),
    ],
)
def test_unproven_chance_or_unlearned_images_are_not_memorized_noise(train, validation):
    assert found_in(FINE, {"train": train, "validation": validation}, "memorised_noise") == []


@pytest.mark.parametrize(("train", "validation", "verdict"), [(0.5, 0.15, "cannot_tell"), (0.99, 0.95, "healthy")])
def test_a_best_first_epoch_is_healthy_only_if_validation_accuracy_is_high(train, validation, verdict):
    curves = history([2.31 - 0.05 * epoch for epoch in range(12)], [2.28 + 0.004 * epoch for epoch in range(12)])
    counts = {"train": figures(train, 500), "validation": figures(validation, 500)}
    found = diagnose(curves, None, Evaluation(counts, tuple("abcdefghij")))
    assert found.verdict == verdict
    assert ("no epoch in between was clearly better" in found.explanation) == (verdict == "cannot_tell")


def test_a_validation_accuracy_above_training_is_label_noise():
    [finding] = found_in(FINE, {"train": figures(0.75, 2000), "validation": figures(0.95, 400)}, "label_noise", 10)
    assert finding.severity == "warning"
    assert finding.evidence["difference_interval"][0] > 0.1
    assert found_in(FINE, {"train": figures(0.95, 2000), "validation": figures(0.95, 400)}, "label_noise", 10) == []


def test_an_untrained_network_says_nothing_about_the_labels():
    """It predicts one class, so its accuracy is the share of that class, which differs between splits."""
    early, late = (0.1,) * 3, (0.5, 0.8, 0.9, 0.95, 0.99, 0.99, 0.99)
    shown = History(
        train_loss=FINE.train_loss[:10],
        validation_loss=FINE.validation_loss[:10],
        train_accuracy=early + late,
        validation_accuracy=(0.4,) * 3 + tuple(value - 0.03 for value in late),
    )
    splits = {"train": figures(0.99, 2000), "validation": figures(0.96, 400)}
    assert found_in(shown, splits, "label_noise", 10) == []
    # Once it has learned something, it does.
    noisy = History(**{**vars(shown), "train_accuracy": (0.1, 0.3, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9, 0.95, 0.99)})
    better = History(**{**vars(noisy), "validation_accuracy": (0.1, 0.4, 0.7, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9)})
    assert found_in(better, splits, "label_noise", 10)


def find_artifacts(fit: float, measured: float) -> list[Finding]:
    """Find metric artifacts in a history whose validation accuracy ends at 0.9."""
    accuracies = {"fit_accuracy": (fit,) * 12, "train_accuracy": (measured,) * 12, "validation_accuracy": (0.9,) * 12}
    shown = History(train_loss=FINE.train_loss[:12], validation_loss=FINE.validation_loss[:12], **accuracies)
    return [finding for finding in diagnose(shown).findings if finding.code == "metric_artefact"]


def test_a_gap_that_only_fit_shows_is_an_artifact():
    assert find_artifacts(fit=0.8, measured=0.91)
    assert find_artifacts(fit=0.89, measured=0.95) == []
    # The measured accuracy is even lower, which a running average does not explain.
    assert find_artifacts(fit=0.8, measured=0.7) == []


# --- classes ------------------------------------------------------------------------------------------


def test_a_class_with_few_images_has_collapsed_only_if_it_is_far_below_the_others():
    def of_classes(count: int, right: int, images: int) -> SplitFigures:
        """Most classes have 65% of their images right, the last class `right` of `images`."""
        usual = round(0.65 * images)
        rows = [[0] * count for _ in range(count)]
        for label, row in enumerate(rows):
            known = right if label == count - 1 else usual
            row[label], row[(label + 1) % count] = known, images - known
        return figures(0.65, count * images, tuple(map(tuple, rows)))

    # One of eight is 2.6 standard deviations below. Among a hundred classes, some class always is.
    assert found_in(FINE, {"test": of_classes(100, 1, 8)}, "collapsed_class", 100) == []
    assert found_in(FINE, {"test": of_classes(10, 1, 40)}, "collapsed_class", 10)
    # More images give more certainty.
    assert found_in(FINE, {"test": of_classes(10, 900, 5000)}, "collapsed_class", 10)
    assert found_in(FINE, {"test": of_classes(10, 1500, 5000)}, "collapsed_class", 10) == []


def test_a_collapsed_class_is_reported_even_if_training_stopped_too_early():
    """An unfinished training alone hides the finding, since a class may not have been learned yet."""
    lost = ((100, 0, 0), (0, 100, 0), (90, 8, 2))
    later = compare_last(40, 20, "test", 300, -0.03, (-0.05, -0.01), 0.01, -0.1, (-0.12, -0.08))
    evaluation = Evaluation({"test": figures(202 / 300, 300, lost)}, ("a", "b", "c"), later)
    codes = {finding.code: finding.severity for finding in diagnose(FINE, None, evaluation).findings}
    assert codes["collapsed_class"] == "critical"
    assert codes["not_converged"] == "warning"


def test_a_rare_class_is_named_unless_the_classes_are_weighted():
    splits = {"train": figures(0.95, 1020, ((990, 10), (10, 10)))}
    [finding] = found_in(FINE, splits, "class_imbalance")
    assert finding.evidence == {
        "smallest": {"class": "class 1", "count": 20},
        "largest": {"class": "class 0", "count": 1000},
        "proposed_objective": "balanced_accuracy",
    }
    weighing, sampling = found_in(FINE, splits, "class_imbalance", spec=spec())[0].remedies
    assert weighing.patch == {"training": {"class_weights": "balanced"}}
    assert sampling.patch == {"training": {"sampling": "balanced"}}
    [counted] = found_in(FINE, splits, "class_imbalance", spec={**spec(), "objective": "worst_class"})
    assert "proposed_objective" not in counted.evidence
    [weighed] = found_in(FINE, splits, "class_imbalance", spec=spec(training={"class_weights": "balanced"}))
    assert (weighed.severity, weighed.remedies) == ("info", ())


def audit_of(code: str, severity: Severity, **numbers: object) -> list[AuditFinding]:
    return [AuditFinding(code=code, severity=severity, numbers=numbers, explanation=code, what_to_do="fix it")]


@pytest.mark.parametrize(("smallest", "severity"), [(300, "info"), (90, "warning")])
def test_a_rare_class_in_the_audit_is_a_warning_only_if_it_is_very_rare(smallest, severity):
    ends = {"smallest": {"class": "b", "count": smallest}, "largest": {"class": "a", "count": 1000}}
    [finding] = diagnose(FINE, audit_of("class_imbalance", "warning", **ends), None, spec()).findings
    assert finding.severity == severity
    assert [remedy.name for remedy in finding.remedies] == ["class_weights", "fix_data"]
    weighing = spec(training={"class_weights": "balanced"})
    [weighed] = diagnose(FINE, audit_of("class_imbalance", "warning", **ends), None, weighing).findings
    assert (weighed.severity, [remedy.name for remedy in weighed.remedies]) == ("info", ["fix_data"])


@pytest.mark.parametrize(
    ("split", "verdict"),
    [("train", "class_imbalance"), ("test", "test_too_small"), ("validation", "healthy")],
)
def test_the_verdict_of_a_missing_class_depends_on_the_split(split, verdict):
    missing = audit_of("class_missing", "warning", **{split: {"count": 1, "classes": ["b"]}})
    assert diagnose(FINE, missing).verdict == verdict


def test_the_audits_warning_of_a_small_test_yields_to_the_measured_accuracy():
    small = audit_of("test_too_small", "warning", count=130, interval_at_90_percent=[0.84, 0.94])
    assert diagnose(FINE, small).verdict == "test_too_small"
    assert diagnose(FINE, small, Evaluation({"test": figures(1.0, 130)}, ("a", "b"))).verdict == "healthy"


def test_a_renaming_is_found_even_if_a_weak_network_confuses_classes():
    """The matrix is near a permutation, though the most frequent answer to two classes is the same."""
    right = ((60, 30, 10), (50, 45, 5), (5, 10, 85))
    renamed = (right[1], right[2], right[0])
    splits = {"validation": figures(190 / 300, 300, right), "test": figures((50 + 10 + 10) / 300, 300, renamed)}
    [finding] = found_in(FINE, splits, "label_order_mismatch", 3)
    assert finding.evidence["renamed"] == {"class 0": "class 1", "class 1": "class 2", "class 2": "class 0"}


def test_a_renaming_that_explains_half_of_the_difference_is_chance():
    """Every matrix has a best assignment. Here it raises test from 0.35 to 0.45, while validation has 0.60."""
    row = (35, 45, 20)
    cycled = tuple(tuple(row[(place - label) % 3] for place in range(3)) for label in range(3))
    known = ((60, 20, 20), (20, 60, 20), (20, 20, 60))
    counts = {
        "validation": figures(0.6, 3000, tuple(tuple(10 * count for count in each) for each in known)),
        "test": figures(0.35, 3000, tuple(tuple(10 * count for count in each) for each in cycled)),
    }
    assert found_in(FINE, counts, "label_order_mismatch", 3) == []
    assert found_in(FINE, counts, "split_shift", 3)


def test_a_test_of_another_kind_is_not_explained_by_any_renaming():
    scattered = tuple(tuple(35 if place == (label + 1) % 3 else 30 for place in range(3)) for label in range(3))
    splits = {"validation": figures(0.95, 300), "test": figures(90 / 285, 285, scattered)}
    assert found_in(FINE, splits, "label_order_mismatch", 3) == []
    assert found_in(FINE, splits, "split_shift", 3)
