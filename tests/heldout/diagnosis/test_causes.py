"""Which cause comes first, and the guards against unproven claims: each test fails without its guard."""

import runpy
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from heldout.diagnosis import Diagnosis, History, diagnose
from heldout.diagnosis.confidence import get_certainty
from heldout.diagnosis.facts import Effect
from heldout.documents.diagnosis import build_diagnosis
from heldout.documents.terminal import render_terminal
from heldout.stored.audit import AuditFinding, SplitLabels
from heldout.verdicts import FINDING_KINDS, require_every_kind
from heldout.views.diagnosis import DiagnosisView
from heldout.words.verdicts import soften
from tests.heldout.diagnosis.made import FINE, OVERFIT, RANDOM_LABELS, history, spec
from tests.heldout.diagnosis.made_gap import Made, answers

CLASSES = 10


def audit_of(code: str, severity: str = "critical", **numbers: Any) -> list[AuditFinding]:
    return [AuditFinding(code=code, severity=severity, numbers=numbers, explanation=code, what_to_do="fix it")]


def confusion(count: int, shares: dict[int, float]) -> tuple[tuple[int, ...], ...]:
    """Make a confusion matrix with `count` images per class. shares: of answers, by how many classes they are off."""
    rows = np.zeros((CLASSES, CLASSES), int)
    for label in range(CLASSES):
        for shift, share in shares.items():
            rows[label, (label + shift) % CLASSES] = round(share * count)
        rows[label, (label + 5) % CLASSES] += count - rows[label].sum()
    return tuple(tuple(int(value) for value in row) for row in rows)


def judged(
    made: Made,
    training: History = FINE,
    audit: list[AuditFinding] | None = None,
    labels: Mapping[str, SplitLabels] | None = None,
    **confusions: tuple[tuple[int, ...], ...],
) -> Diagnosis:
    evaluation = made.evaluation()
    splits = dict(evaluation.splits)
    for split, rows in confusions.items():
        splits[split] = replace(splits[split], confusion=rows)
    return diagnose(training, audit, replace(evaluation, splits=splits), spec(), labels=labels)


def codes(diagnosis: Diagnosis) -> list[str]:
    return [cause.code for cause in diagnosis.causes]


def test_what_is_a_cause_is_not_listed_again_as_a_note():
    audit = [
        *audit_of("split_shift", split="test", effect=0.3),
        *audit_of("split_shift", "info", split="validation", effect=0.003),
    ]
    made = Made(answers(0.99, 500), answers(0.98, 1000, 1), answers(0.6, 1000, 2))
    found = judged(made, audit=audit)
    assert [finding.severity for finding in found.findings if finding.code == "split_shift"] == ["critical"]
    alone = judged(Made(answers(0.99, 500), answers(0.98, 1000, 1), answers(0.98, 1000, 2)), audit=audit[1:])
    assert [finding.severity for finding in alone.findings if finding.code == "split_shift"] == ["info"]


def test_a_finding_without_a_rule_or_words_is_refused():
    require_every_kind(FINDING_KINDS, "rules")
    with pytest.raises(TypeError, match=r"rules: missing \['leakage'\], unknown \['leaks'\]"):
        require_every_kind({*FINDING_KINDS, "leaks"} - {"leakage"}, "rules")


@pytest.mark.parametrize("module", ["heldout.diagnosis.precedence", "heldout.words.verdicts"])
def test_importing_rules_or_words_fails_if_a_finding_is_missing(module, monkeypatch):
    monkeypatch.setitem(FINDING_KINDS, "new", FINDING_KINDS["leakage"])
    with pytest.raises(TypeError, match=r"missing \['new'\]"):
        runpy.run_path(find_spec(module).origin)


# --- effects ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "matters"),
    [
        (Effect(0.02, (0.012, 0.028)), True),  # clearly a point, and less than three
        (Effect(0.05, (-0.05, 0.15)), True),  # three or more, and the lower bound that holds in 80% is above zero
        (Effect(0.05, (-0.08, 0.18)), False),  # that bound is below it
        (Effect(0.02, (-0.001, 0.041)), False),
        (Effect(0.3, None), False),
    ],
)
def test_an_effect_matters_if_it_is_clearly_one_point_or_probably_three(effect, matters):
    assert effect.matters is matters


def test_an_effect_has_no_sign():
    assert Effect.of(-0.2, (-0.3, -0.1)) == Effect(0.2, (0.1, 0.3))


# --- figures that are not true ---------------------------------------------------------------------------


@pytest.mark.parametrize(("effect", "tier"), [(0.3, "figures_not_true"), (0.01, "rest_of_gap")])
def test_only_clearly_different_images_make_a_lower_test_accuracy_untrue(effect, tier):
    """Splits by group always differ a little."""
    made = Made(answers(0.99, 3000), answers(0.9, 1000, 1), answers(0.7, 1000, 2))
    found = judged(made, audit=audit_of("split_shift", split="test", effect=effect))
    [shift] = [cause for cause in found.causes if cause.code == "split_shift"]
    assert shift.tier == tier
    assert shift.points == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("effect", "test", "tier"),
    [(0.2, 0.56, "figures_not_true"), (0.19, 0.56, "other"), (0.2, 0.6, "other"), (0.2, 0.64, "other")],
)
def test_images_that_look_very_different_need_only_be_answered_worse_by_a_likely_difference(effect, test, tier):
    """Four of 100 fewer are right: too few to be sure, and with 80% not by chance."""
    usual, different = answers(0.6, 400, 1), answers(test, 200, 2)
    for split, made in (
        ("test", Made(answers(0.99, 3000), usual, different)),
        ("validation", Made(answers(0.99, 3000), different, usual)),
    ):
        found = judged(made, audit=audit_of("split_shift", split=split, effect=effect))
        [shift] = [cause for cause in found.causes if cause.code == "split_shift"]
        assert shift.tier == tier


@pytest.mark.parametrize(("effect", "images", "place"), [(0.05, 400, 1), (0.01, 400, 2), (0.05, 150_000, 2)])
def test_images_of_another_kind_are_worth_a_look_before_new_ones_are_collected(effect, images, place):
    """Test is answered no worse than validation. Only very many images prove that this kind costs nothing."""
    made = Made(answers(0.5, 3000), answers(0.35, images, 1), answers(0.35, images, 2))
    found = codes(judged(made, audit=audit_of("split_shift", split="test", effect=effect)))
    expected = ["underfitting", "too_little_data"]
    assert found[:3] == [*expected[:place], "split_shift", *expected[place:]]


@pytest.mark.parametrize(("training", "tier"), [(0.9, "figures_not_true"), (0.41, "other")])
def test_copies_make_a_figure_untrue_if_their_training_images_are_answered_better_than_others(training, tier):
    """17 of 30 copies are answered correctly, and 4 of 10 other images: 1.7 points that may be chance."""
    served, copied = answers(0.4, 300, 2), np.arange(300) < 30
    served.right[:] = np.concatenate([np.arange(30) < 17, np.arange(270) < 108])
    made = Made(answers(training, 3000), answers(0.4, 1000, 1), served, test_copied=copied)
    [leak] = [cause for cause in judged(made).causes if cause.code == "leakage"]
    assert leak.tier == tier


@pytest.mark.parametrize("right_copies", [20, 60])
def test_copies_never_help_more_than_training_images_are_answered_better(right_copies):
    """The network guesses between two classes. Of 70 copies 20 or 60 happen to be answered correctly."""
    served, copied = answers(0.53, 1000, 2), np.arange(1000) < 70
    served.right[:70] = np.arange(70) < right_copies
    made = Made(answers(0.53, 3000), answers(0.53, 1000, 1), served, test_copied=copied, classes=("a", "b"))
    found = judged(made)
    [leak] = [cause for cause in found.causes if cause.code == "leakage"]
    assert (leak.tier, leak.points) == ("other", None)
    assert found.verdict == "underfitting"
    assert "leakage" in found.caveats


def test_copies_that_are_answered_worse_than_other_images_show_that_their_labels_conflict():
    served, copied = answers(0.9, 1000, 2), np.arange(1000) < 40
    served.right[:40] = False
    made = Made(answers(0.99, 3000), answers(0.9, 1000, 1), served, test_copied=copied)
    conflicts = audit_of("label_conflicts", images=40, of_split={"train": 0, "validation": 0, "test": 40})
    found = judged(made, audit=conflicts)
    assert found.causes[0].code == "label_conflicts"
    assert found.causes[0].points == pytest.approx(0.04 * 0.9, abs=0.003)


def test_brightness_that_the_audit_found_to_be_another_scale_is_a_scale():
    made = Made(answers(0.9, 3000), answers(0.6, 1000, 1), answers(0.1, 1000, 2), pixels=answers(0.5, 1000, 3))
    assert codes(judged(made))[0] == "split_shift"
    found = judged(made, audit=audit_of("scale_mismatch", split="test"))
    assert (codes(found)[0], found.causes[0].points) == ("scale_mismatch", pytest.approx(0.4))
    made = Made(answers(0.9, 3000), answers(0.1, 400, 1), answers(0.6, 1000, 2), validation_pixels=answers(0.6, 400, 3))
    found = judged(made, audit=audit_of("scale_mismatch", split="validation"))
    assert (codes(found)[0], found.causes[0].points) == ("scale_mismatch", pytest.approx(0.5))
    assert "split_shift" not in codes(found)
    assert (found.causes[0].figure_after.now, found.causes[0].figure_after.after) == (0.1, 0.6)


def test_validation_images_of_another_kind_make_validation_untrue():
    made = Made(answers(0.99, 3000), answers(0.7, 1000, 1), answers(0.9, 1000, 2))
    found = judged(made, audit=audit_of("split_shift", split="validation", effect=0.3))
    assert codes(found)[:2] == ["split_shift", "too_little_data"]
    assert found.causes[0].tier == "figures_not_true"


@pytest.mark.parametrize(("images", "tier"), [(400, "figures_not_true"), (100, "rest_of_gap")])
def test_images_with_conflicting_labels_make_figures_untrue_if_they_cost_three_points(images, tier):
    made = Made(answers(0.99, 3000), answers(0.9, 1000, 1), answers(0.9, 1000, 2))
    [conflicts] = [
        cause
        for cause in judged(made, audit=audit_of("label_conflicts", images=images)).causes
        if cause.code == "label_conflicts"
    ]
    assert (conflicts.tier, conflicts.points) == (tier, pytest.approx(images / 5000 / 2))


def test_validation_labels_in_another_order_are_found_like_test_labels():
    shifted = confusion(40, {0: 0.05, 1: 0.8})
    made = Made(answers(0.95, 3000), answers(0.05, 400, 1), answers(0.8, 1000, 2))
    found = judged(made, validation=shifted, test=confusion(100, {0: 0.8}))
    assert found.verdict == "label_order_mismatch"
    assert found.headline == "Validation labels are in another order."
    assert found.causes[0].points == pytest.approx(0.75)


def test_a_label_order_found_by_the_audit_has_the_measured_cost_and_is_one_fault():
    made = Made(answers(0.95, 3000), answers(0.92, 1000, 1), answers(0.01, 1000, 2), labels=answers(0.91, 1000, 3))
    rows = {"validation": confusion(100, {0: 0.92}), "test": confusion(100, {0: 0.01, 1: 0.9})}
    suspected = {"test": SplitLabels(images=1000, count=950, low=900, high=1000)}
    found = judged(made, audit=audit_of("label_order_mismatch", split="test"), labels=suspected, **rows)
    assert codes(found)[0] == "label_order_mismatch"
    assert "label_noise" not in codes(found)
    assert found.causes[0].points == pytest.approx(0.9)
    assert found.summary == (
        "It answers worse than guessing (1 of 100; guessing gives 10). Renaming the test classes gives 91 of 100."
    )


def test_validation_answers_worse_than_guessing_show_wrong_labels():
    made = Made(answers(0.95, 3000), answers(0.03, 1000, 1), answers(0.8, 1000, 2))
    found = judged(made, validation=confusion(100, {0: 0.03, 3: 0.5}), test=confusion(100, {0: 0.8}))
    assert found.verdict == "label_order_mismatch"
    assert found.headline == "Validation labels do not belong to the validation images."
    assert found.summary.startswith("It answers worse than guessing (3 of 100; guessing gives 10).")
    assert found.causes[0].what_to_do == "Check how the labels of the validation split were joined to its images."


def test_answers_that_are_as_bad_in_both_splits_show_no_renaming():
    """A network that only answers its most frequent class is right in neither split, where others are frequent."""
    known, rows = np.zeros((CLASSES, CLASSES), int), np.zeros((CLASSES, CLASSES), int)
    known[0, 0], known[4, 0] = 2250, 750
    rows[1, 0], rows[5, 0] = 300, 100
    train, split = (tuple(tuple(int(value) for value in row) for row in counts) for counts in (known, rows))
    made = Made(answers(0.75, 3000), answers(0.0, 400, 1), answers(0.0, 400, 2))
    assert "label_order_mismatch" not in codes(judged(made, train=train, validation=split, test=split))


def test_a_frequent_answer_next_to_a_frequent_class_is_not_a_renaming():
    """Nearly all images are of class 1 and answered as class 0, so a rotation of names fits by chance."""
    rows = np.zeros((CLASSES, CLASSES), int)
    rows[1, 0], rows[1, 1], rows[0, 0], rows[2, 2] = 170, 10, 10, 10
    test = tuple(tuple(int(value) for value in row) for row in rows)
    made = Made(answers(0.6, 3000), answers(0.5, 1000, 1), answers(0.15, 200, 2))
    assert "label_order_mismatch" not in codes(judged(made, validation=confusion(100, {0: 0.5}), test=test))


def test_inverted_images_explain_answers_worse_than_guessing():
    made = Made(answers(0.9, 3000), answers(0.8, 1000, 1), answers(0.02, 1000, 2))
    rows = {"validation": confusion(100, {0: 0.8}), "test": confusion(100, {0: 0.02, 3: 0.6})}
    assert codes(judged(made, **rows))[0] == "label_order_mismatch"
    inverted = judged(made, audit=audit_of("inverted_values", split="test"), **rows)
    assert codes(inverted)[0] == "scale_mismatch"
    assert "label_order_mismatch" not in codes(inverted)


# --- training --------------------------------------------------------------------------------------------


def test_a_network_that_learned_almost_nothing_in_many_epochs_does_not_need_more():
    slow = history([2.3 - 0.004 * epoch for epoch in range(20)], [2.3 - 0.004 * epoch for epoch in range(20)])
    made = Made(answers(0.12, 3000, loss=1.9), answers(0.12, 1000, 1, loss=1.9), answers(0.12, 1000, 2, loss=1.9))
    evaluation = made.evaluation()
    splits = {name: replace(figures, loss=2.26) for name, figures in evaluation.splits.items()}
    found = diagnose(slow, None, replace(evaluation, splits=splits), spec())
    assert found.verdict == "underfitting"
    learning = {name: replace(figures, loss=1.9) for name, figures in evaluation.splits.items()}
    assert diagnose(slow, None, replace(evaluation, splits=learning), spec()).verdict == "not_converged"


def test_a_large_gap_does_not_hide_that_training_images_are_still_being_learned():
    training = [2.3 - 0.1 * epoch for epoch in range(16)]
    course = history(training, [1.8] * 16)
    made = Made(answers(0.7, 3000), answers(0.4, 1000, 1), answers(0.4, 1000, 2))
    assert codes(judged(made, course)) == ["not_converged", "too_little_data"]
    nearly_done = replace(made, train=answers(0.85, 3000))
    assert codes(judged(nearly_done, course)) == ["too_little_data"]


def test_too_few_epochs_come_before_too_little_data_unless_most_training_images_are_learned():
    flat_by_now = [2.0, 1.6, 1.59, 1.58, 1.58]
    made = Made(answers(0.5, 3000), answers(0.3, 1000, 1), answers(0.3, 1000, 2))
    assert codes(judged(made, history(flat_by_now, flat_by_now))) == ["not_converged", "too_little_data"]
    nearly_done = replace(made, train=answers(0.85, 3000))
    assert codes(judged(nearly_done, history(flat_by_now, flat_by_now))) == ["too_little_data"]


@pytest.mark.parametrize(("validation", "test", "is_noise"), [(0.1, 0.1, True), (0.17, 0.1, False), (0.1, 0.2, False)])
def test_labels_are_not_called_noise_if_the_network_generalizes_at_all(validation, test, is_noise):
    made = Made(answers(1.0, 1000), answers(validation, 1000, 1), answers(test, 1000, 2))
    assert ("memorised_noise" in codes(judged(made, RANDOM_LABELS))) is is_noise


def test_labels_are_not_called_noise_from_a_few_images_per_class():
    made = Made(answers(1.0, 99), answers(0.1, 1000, 1), answers(0.1, 1000, 2))
    assert "memorised_noise" not in codes(judged(made, RANDOM_LABELS))
    few = judged(replace(made, train=answers(1.0, 249)), RANDOM_LABELS)
    assert (few.verdict, few.headline) == ("memorised_noise", "Nothing that it learned holds for new images.")
    assert few.summary.endswith("Check how labels were joined to images, then collect many more images.")
    many = judged(replace(made, train=answers(1.0, 250)), RANDOM_LABELS)
    assert many.headline == "The labels seem to have nothing to do with the images."


def test_a_loss_that_ends_below_that_of_guessing_has_not_diverged():
    """The level of the last three epochs is 2.4, that of guessing among ten classes 2.3."""
    made = Made(answers(0.3, 3000), answers(0.3, 1000, 1), answers(0.3, 1000, 2))
    ends = {last: judged(made, history([2.2, 2.1, 2.0, 2.0, 2.9, 2.6, last], [2.2] * 7)) for last in (2.6, 1.8)}
    assert ["diverged" in codes(found) for found in ends.values()] == [True, False]


def test_a_loss_far_above_guessing_in_any_epoch_shows_a_rate_that_is_too_high():
    """The first epoch's loss was 40; since then the network answers one class. With penalties of 30 it was never so."""
    stuck = [2.302] * 10
    made = Made(answers(0.1, 3000, loss=2.2), answers(0.1, 1000, 1, loss=2.2), answers(0.1, 1000, 2, loss=2.2))

    def ends(*fit: float) -> Diagnosis:
        return judged(made, replace(history(stuck, stuck), fit_loss=fit))

    assert ends(40.0, *stuck[1:]).verdict == "diverged"
    assert ends(2.4, *stuck[1:]).verdict == "underfitting"
    assert ends(40.0, *[32.3] * 9).verdict == "underfitting"


@pytest.mark.parametrize(
    ("optimizer", "verdict"),
    [
        ({"learning_rate": 0.02}, "diverged"),
        ({"learning_rate": 0.001}, "underfitting"),
        ({"name": "sgd", "learning_rate": 0.1}, "underfitting"),
        ({"name": "sgd", "learning_rate": 0.5}, "diverged"),
    ],
)
def test_a_network_that_only_guesses_after_steps_far_above_the_usual_ones_had_too_high_a_rate(optimizer, verdict):
    made = Made(answers(0.1, 3000), answers(0.1, 1000, 1), answers(0.1, 1000, 2))
    evaluation = made.evaluation()
    splits = {name: replace(figures, loss=2.302) for name, figures in evaluation.splits.items()}
    job = spec(training={"optimizer": optimizer})
    found = diagnose(history([2.303] * 12, [2.303] * 12), None, replace(evaluation, splits=splits), job)
    assert found.verdict == verdict
    if verdict == "diverged":
        rate = found.findings[0].remedies[0].patch["training"]["optimizer"]["learning_rate"]
        assert rate == pytest.approx(optimizer["learning_rate"] / 10)
        assert found.summary.endswith("Lower the learning rate and train again.")


def test_a_falling_loss_with_the_same_answer_to_every_image_is_no_reason_to_train_longer():
    falls = [2.3 - 0.03 * epoch for epoch in range(9)]
    made = Made(answers(0.3, 3000), answers(0.3, 1000, 1), answers(0.3, 1000, 2))
    always = tuple((300, *[0] * (CLASSES - 1)) for _ in range(CLASSES))
    varied = confusion(300, {0: 0.3, 1: 0.3, 2: 0.4})
    assert judged(made, history(falls, falls), train=always).verdict == "underfitting"
    assert judged(made, history(falls, falls), train=varied).verdict == "not_converged"


@pytest.mark.parametrize(("seen", "is_named"), [(2, True), (40, False)])
def test_a_rare_class_is_named_by_test_if_validation_has_too_few_of_its_images(seen, is_named):
    """170 of 1,000 test images are of a class with 18 training images, and 7 of them are answered correctly."""

    def make(rare: int, right: int, others: int, accuracy: float) -> tuple[tuple[int, ...], ...]:
        rows = np.diag([right] + [round(accuracy * others)] * (CLASSES - 1))
        rows[:, 1] += np.array([rare] + [others] * (CLASSES - 1)) - rows.sum(axis=1)
        return tuple(map(tuple, rows.tolist()))

    made = Made(answers(0.99, 2718), answers(0.9, 900 + seen, 1), answers(677 / 908, 908, 2))
    split = {"train": make(18, 18, 300, 0.99), "test": make(170, 7, 82, 0.9)}
    found = judged(
        made,
        audit=audit_of("split_shift", split="test", effect=0.01),
        **split,
        validation=make(seen, seen - 1, 100, 0.9),
    )
    named = {cause.code: cause for cause in found.causes}
    assert ("collapsed_class" in named) is is_named
    if is_named:
        assert named["collapsed_class"].points == pytest.approx(170 / 908 * (670 / 738 - 7 / 170))
        assert named["collapsed_class"].tier == "rest_of_gap"
        assert codes(found).index("collapsed_class") < codes(found).index("too_little_data")


# --- what the figures would be ---------------------------------------------------------------------------


def test_a_cause_says_what_accuracy_would_be_after_its_fix():
    train, validation, served = answers(0.99, 3000), answers(0.5, 1000, 1), answers(0.72, 1000, 2)
    copied = served.right & (np.arange(1000) < 500)
    clean = served.right[~copied].mean()
    inverted = Made(train, validation, answers(0.09, 1000, 2), pixels=answers(0.46, 1000, 3), pixels_choice="inversion")
    cases = [
        (Made(train, validation, served, test_copied=copied), "leakage", f"{100 * clean:.0f}% instead of 72%"),
        (inverted, "scale_mismatch", "46% instead of 9%"),
        (replace(inverted, pixels=None, labels=answers(0.4, 1000, 3)), "label_order_mismatch", "40% instead of 9%"),
    ]
    for made, code, figures in cases:
        [cause] = [cause for cause in DiagnosisView.of(judged(made)).causes if cause.code == code]
        assert cause.figure_after.figure == "test_accuracy"
        assert cause.figure_after.explanation == f"Test accuracy would read {figures}."


def test_a_cause_without_a_measured_effect_gives_no_such_figure():
    made = Made(answers(0.99, 3000), answers(0.9, 1000, 1), answers(0.7, 1000, 2))
    found = judged(made, audit=audit_of("split_shift", split="test", effect=0.3))
    assert [cause.figure_after for cause in found.causes] == [None] * len(found.causes)


# --- the rest of the gap ---------------------------------------------------------------------------------


def test_a_few_wrong_labels_do_not_explain_a_large_gap():
    """Training accuracy was once 4 points below validation accuracy, and is 40 points above it in the end."""
    course = History(
        train_loss=OVERFIT.train_loss,
        validation_loss=OVERFIT.validation_loss,
        train_accuracy=(0.5,) * 20 + (0.99,) * 20,
        validation_accuracy=(0.54,) * 20 + (0.59,) * 20,
    )
    made = Made(answers(0.99, 20_000), answers(0.59, 20_000, 1), answers(0.59, 20_000, 2))
    found = judged(made, course)
    assert codes(found)[:2] == ["too_little_data", "label_noise"]
    term = found.gap.find_term("generalisation")
    assert term.finding == "too_little_data"


# --- how sure --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("confidence", "words"), [(None, None), (0.95, "sure"), (0.9, "sure"), (0.8, "likely"), (0.6, "not sure")]
)
def test_the_certainty_of_a_verdict_is_given_in_words(confidence, words):
    assert get_certainty(confidence) == words


def test_a_verdict_is_less_certain_with_more_faults_fewer_images_or_splits_that_disagree():
    def confidence(images: int = 400, test: float = 0.6, audit: list[AuditFinding] | None = None) -> float:
        made = Made(answers(0.99, 3000), answers(0.6, images, 1), answers(test, 1000, 2))
        found = judged(made, audit=audit)
        assert found.verdict == "too_little_data"
        return found.confidence

    rare = {"smallest": {"class": "b", "count": 20}, "largest": {"class": "a", "count": 1000}}
    assert confidence() > confidence(audit=audit_of("class_imbalance", **rare))
    assert confidence() > confidence(images=100)
    assert confidence() > confidence(test=0.64)


# --- pixel values ------------------------------------------------------------------------------------------

HALF_RIGHT = answers(0.5, 600, 2)


def test_partly_inverted_images_are_the_first_thing_to_fix():
    made = Made(
        answers(0.99, 3000),
        answers(0.7, 600, 1),
        HALF_RIGHT,
        pixels=answers(0.7, 600, 2),
        pixels_choice="inversion",
        pixels_share=0.252,
    )
    found = judged(made)
    assert codes(found)[0] == "scale_mismatch"
    assert found.headline == "A quarter of the test images are inverted."
    assert found.summary.startswith("With light and dark swapped back, test accuracy is 70% instead of 50%. Fix these")
    assert "About a quarter of the test images (151 of 600) have light and dark swapped" in found.explanation
    [cause] = [finding for finding in found.findings if finding.code == "scale_mismatch"]
    assert [remedy.fix for remedy in cause.remedies] == [None]  # a version changes whole splits
    assert judged(replace(made, pixels_share=0.31)).headline == "About 31% of the test images are inverted."
    assert judged(replace(made, pixels_share=None)).headline == "Test images are inverted."


@pytest.mark.parametrize(
    ("choice", "code", "headline"),
    [
        ("inversion", "scale_mismatch", "Half of the validation images are inverted."),
        ("channel_order", "split_shift", "Half of the validation images have red and blue swapped."),
    ],
)
def test_changed_pixels_in_validation_are_the_first_thing_to_fix(choice, code, headline):
    """They belong to no term of the gap: only the validation figure is too low."""
    made = Made(
        answers(0.99, 3000),
        HALF_RIGHT,
        answers(0.7, 600, 1),
        validation_pixels=answers(0.7, 600, 2),
        pixels_choice=choice,
        pixels_share=0.5,
    )
    found = judged(made)
    first = found.causes[0]
    assert (first.code, first.tier, first.points) == (code, "figures_not_true", pytest.approx(0.2))
    assert (found.headline, first.figure_after.figure) == (headline, "validation_accuracy")
    assert found.gap.find_term("pixel_values") is None
    assert sum(term.accuracy for term in found.gap.terms) == pytest.approx(found.gap.accuracy)
    whole = judged(replace(made, pixels_share=None))
    [remedy, *_] = next(finding for finding in whole.findings if finding.code == code).remedies
    assert set(remedy.fix["pixel_values"]) == {"validation"}
    assert code not in codes(judged(replace(made, validation_pixels=HALF_RIGHT)))


AUDITED = ["split_shift", "class_shift"]
MADE_TURNED = Made(
    answers(0.99, 3000),
    answers(0.7, 600, 1),
    answers(0.15, 600, 2),
    pixels=answers(0.68, 600, 3),
    pixels_choice="turn_left",
)


def test_turned_test_images_are_named_with_their_points_and_the_change_that_turns_them_back():
    found = judged(MADE_TURNED)
    assert (found.verdict, found.headline) == ("split_shift", "Test images are turned by 90° to the right.")
    assert found.summary.startswith("Turned back, test accuracy is 68% instead of 15%. Fix the test images")
    assert found.causes[0].points == pytest.approx(0.53)
    assert "The test images are oriented differently from those of training: the network" in found.explanation
    [remedy, *_] = found.findings[0].remedies
    assert remedy.fix == {"pixel_values": {"test": "turn_left"}}
    # What the audit says of the same images comes along; it cannot tell what to do.
    shift, classes = ([*audit_of(code, split="test")] for code in ("split_shift", "class_shift"))
    for audit, of_test in ((shift, ["split_shift"]), (classes, [None, "class_shift"]), ([*classes, *shift], AUDITED)):
        both = judged(MADE_TURNED, audit=audit)
        assert both.headline == found.headline
        assert both.findings[0].remedies == found.findings[0].remedies
        assert [finding.evidence.get("audit") for finding in both.findings if finding.code == "split_shift"] == of_test


def test_the_headline_is_about_the_first_finding():
    """The audit found that test differs a little, and validation was measured to be darker."""
    made = Made(answers(0.99, 3000), HALF_RIGHT, answers(0.7, 600, 1), validation_pixels=answers(0.7, 600, 2))
    found = judged(made, audit=audit_of("split_shift", split="test", effect=0.02))
    assert codes(found)[0] == "split_shift"
    assert found.headline == "Validation images differ in brightness or contrast."
    assert found.findings[0].evidence["split"] == "validation"


def test_a_measured_change_of_test_takes_precedence_over_the_audit():
    made = Made(
        answers(0.99, 3000),
        answers(0.7, 600, 1),
        HALF_RIGHT,
        pixels=answers(0.7, 600, 2),
        pixels_choice="channel_order",
        pixels_share=0.5,
    )
    audit = audit_of("split_shift", split="test", effect=0.3)
    assert judged(made, audit=audit).headline == "Half of the test images have red and blue swapped."
    unsure = judged(replace(made, pixels=HALF_RIGHT), audit=audit)
    assert unsure.headline == "The test images are of a different kind."


def test_a_term_about_test_is_not_assigned_to_a_finding_about_validation():
    made = Made(
        answers(0.99, 3000),
        HALF_RIGHT,
        answers(0.7, 600, 1),
        pixels=answers(0.705, 600, 1),
        validation_pixels=answers(0.7, 600, 2),
        pixels_choice="inversion",
    )
    found = judged(made)
    assert codes(found)[0] == "scale_mismatch"
    assert found.gap.find_term("pixel_values").finding is None


@pytest.mark.parametrize(
    ("undone", "headline"),
    [(0.42, "Pixel values are stored differently in one split."), (0.6, "Test images are inverted.")],
)
def test_a_headline_names_an_undone_change_only_if_it_clearly_helps(undone, headline):
    made = Made(
        answers(0.9, 2000), answers(0.6, 500, 1), answers(0.41, 400, 2), pixels=answers(undone, 400, 3),
        pixels_choice="inversion",
    )  # fmt: skip
    found = judged(made, audit=audit_of("scale_mismatch", split="test"))
    assert found.verdict == "scale_mismatch"
    assert found.headline == headline
    assert [finding.code for finding in found.findings].count(
        "scale_mismatch"
    ) == 1  # the measurement and the audit found the same fault


@pytest.mark.parametrize(
    ("in_test", "copied", "tier"),
    [(80, 80, "figures_not_true"), (80, 20, "rest_of_gap"), (80, 0, "rest_of_gap"), (30, 30, "rest_of_gap")],
)
def test_conflicting_labels_make_a_figure_untrue_only_if_they_lie_in_two_splits(in_test, copied, tier):
    """Copies within one split whose labels differ are wrong labels: images of one object, some with another label."""
    made = Made(answers(0.99, 3000), answers(0.9, 1000, 1), answers(0.9, 1000, 2))
    of_split = {"train": 110 - in_test, "validation": 0, "test": in_test}
    audit = audit_of("label_conflicts", images=110, of_split=of_split)
    audit += audit_of("leakage", "info", test_in_train={"images": copied, "share": copied / 1000})
    found = judged(made, audit=audit)
    [conflicts] = [cause for cause in found.causes if cause.code == "label_conflicts"]
    assert conflicts.points == pytest.approx(in_test / 1000 / 2)
    assert conflicts.tier == tier


def test_the_headline_of_a_verdict_that_is_not_sure_begins_with_perhaps(monkeypatch):
    def headline(confidence: float, made: Made) -> str:
        monkeypatch.setattr("heldout.diagnosis.compute_verdict_confidence", lambda *_: confidence)
        return judged(made).headline

    memorized = Made(answers(0.99, 3000), answers(0.6, 400, 1), answers(0.6, 1000, 2))
    assert headline(0.7, memorized) == "The network memorized its 3,000 training images."
    assert headline(0.69, memorized) == "Perhaps the network memorized its 3,000 training images."


def test_what_was_counted_or_looks_so_needs_no_perhaps():
    for headline, verdict in (
        ("Half of the test images were copied.", "leakage"),
        ("Some labels look wrong.", "label_noise"),
    ):
        assert soften(headline, verdict) == headline
    assert soften("Training ended too early.", "not_converged") == "Perhaps training ended too early."
    assert soften("About 31% of them are inverted.", "scale_mismatch") == "Perhaps 31% of them are inverted."


@pytest.mark.parametrize(
    ("groups", "confirmed", "is_found"),
    [
        ({"family": 1.0}, None, True),
        ({"family": 15.0}, None, False),
        ({"named_family": 15.0, "named_by": "a"}, None, True),
        ({"named_family": 15.0, "named_by": "a"}, "a", False),
    ],
    ids=["none", "declared", "in names", "found"],
)
def test_a_test_set_of_few_groups_is_not_called_different_because_of_chance(groups, confirmed, is_found):
    """Test is 15 points below validation: 400 images prove that, but not groups that say as much as 27 images."""
    nowhere = np.zeros(400, bool)
    made = Made(answers(0.95, 3000), answers(0.8, 400, 1), answers(0.65, 400, 2), test_copied=nowhere)
    evaluation = made.evaluation()
    copies = evaluation.gap.test_copies.model_copy(update=groups)
    grouped = replace(evaluation, gap=evaluation.gap.model_copy(update={"test_copies": copies}))
    found = diagnose(FINE, None, grouped, spec(), group_rule=confirmed)
    assert ("split_shift" in codes(found)) is is_found
    shown = " ".join(render_terminal(build_diagnosis(DiagnosisView.of(found)), 1000))
    assert ("These groups were found, not declared" in shown) is (confirmed is not None)
