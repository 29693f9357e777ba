"""Which finding gives the verdict: cases of users, and the tables of the documentation."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heldout.diagnosis import Diagnosis, Finding, History, diagnose
from heldout.diagnosis.attribution import FINDINGS_OF_TERM, attribute_terms
from heldout.diagnosis.causes import CAVEATS, TIERS
from heldout.diagnosis.facts import collect_facts
from heldout.diagnosis.gap import compute_gap
from heldout.proofs.experiment import Judgement
from heldout.proofs.outcomes import NOTHING_TRIED, Outcomes, Tried
from heldout.remedies.change import RemedyBase
from heldout.stored.audit import AuditFinding
from tests.heldout.diagnosis.made import FINE, OVERFIT, compare_last, falling, history, spec
from tests.heldout.diagnosis.made_gap import Answers, Made, answers

DOCS = Path(__file__).parents[3] / "docs" / "explanation"
# Ten classes, each renamed to the next one.


def audit_of(code: str, severity: str = "critical", **numbers: Any) -> list[AuditFinding]:
    return [AuditFinding(code=code, severity=severity, numbers=numbers, explanation=code, what_to_do="fix it")]


def marked(count: int, marked: int) -> np.ndarray:
    return np.arange(count) < marked


def judged(made: Made, training: History = FINE, audit: list[AuditFinding] | None = None) -> Diagnosis:
    return diagnose(training, audit, made.evaluation(), spec())


def finding(diagnosis: Diagnosis, code: str) -> Finding:
    [found] = [finding for finding in diagnosis.findings if finding.code == code]
    return found


def make_answers_with_copies(accuracy: float, count: int, copies: int, seed: int = 0) -> tuple[Answers, np.ndarray]:
    """Make answers of which the first `copies` are copies, all correct; the others have this accuracy."""
    copied, found = marked(count, copies), answers(accuracy, count, seed)
    others = answers(accuracy, count - copies, seed)
    found.right[:copies], found.loss[:copies] = True, answers(1, copies, seed).loss
    found.right[copies:], found.loss[copies:] = others.right, others.loss
    return found, copied


@pytest.mark.parametrize(("has_photographs", "first"), [(True, "pretrained"), (False, "fix_data")])
def test_of_too_few_photographs_pretrained_features_come_first(has_photographs, first):
    made = Made(answers(1.0, 395), answers(0.35, 85, 1), answers(0.35, 84, 2))
    found = diagnose(FINE, None, made.evaluation(), spec(), has_photographs=has_photographs)
    assert found.verdict == "too_little_data"
    few = finding(found, "too_little_data")
    assert few.remedies[0].name == first
    assert few.remedies[1].name == ("fix_data" if has_photographs else "augmentation")
    for text in (few.explanation, found.summary):
        assert ("retrained features" in text) == has_photographs


def test_a_sure_gap_stays_sure_if_an_experiment_refutes_its_usual_cause():
    made = Made(answers(1.0, 400), answers(0.88, 400, 1), answers(0.88, 400, 2))
    refuted = Judgement("refuted", "Training on half of the images costs nothing.", {"too_little_data": "refuted"})
    outcomes = Outcomes((Tried("half", "Half", "Too few?", refuted),))
    before, after = (diagnose(FINE, None, made.evaluation(), spec(), outcomes=of) for of in (NOTHING_TRIED, outcomes))
    assert (before.verdict, after.verdict) == ("too_little_data", "cannot_tell")
    assert after.headline == "New images are answered worse, and the cause is not known."
    assert "chance" not in after.explanation
    assert "too few training images" not in after.explanation
    assert "9.0 to 15.6 points less" in after.explanation


# --- cases of users -----------------------------------------------------------------------------------


def test_shifted_test_labels_come_before_45_copies_in_validation():
    validation, copied = make_answers_with_copies(0.86, 416, 45)
    made = Made(
        answers(0.99, 3340), validation, answers(0.09, 420, 1), validation_copied=copied, labels=answers(0.86, 420, 2)
    )
    found = judged(made, audit=audit_of("leakage", validation_in_train={"images": 45, "share": 0.108}))
    assert found.verdict == "label_order_mismatch"
    assert found.caveats == ("leakage",)
    assert found.findings[0].code == "label_order_mismatch"
    assert found.findings[0].evidence["renamed"]["a"] == "b"
    assert finding(found, "leakage").severity == "critical"
    assert "is 90 points below training accuracy (99.0%): 77 from labels in another order" in found.explanation


def test_overfitting_of_15_points_comes_before_one_copied_pair():
    for split in ("validation", "test"):
        validation, in_validation = make_answers_with_copies(0.84, 65, int(split == "validation"), 1)
        test, in_test = make_answers_with_copies(0.84, 130, int(split == "test"), 2)
        made = Made(answers(0.99, 456), validation, test, validation_copied=in_validation, test_copied=in_test)
        found = judged(made, OVERFIT, audit_of("leakage"))
        assert found.verdict == "overfitting"
        assert finding(found, "leakage").severity == "info"
        assert "leakage" not in found.caveats


def test_copies_that_are_all_answered_wrongly_are_critical():
    """Copies with changed labels raise no figure, but they cost two points."""
    test, copied = make_answers_with_copies(1.0, 1000, 20)
    test.right[copied], test.loss[copied] = False, 0.05
    found = judged(Made(answers(1.0, 900), answers(1.0, 400, 1), test, test_copied=copied), audit=audit_of("leakage"))
    assert finding(found, "leakage").severity == "critical"


def test_a_few_dozen_copies_among_70000_images_are_only_an_info():
    copied = marked(10_000, 36)
    made = Made(
        answers(0.95, 50_000), answers(0.91, 10_000, 1), answers(0.91, 10_000, 2), validation_copied=copied,
        test_copied=copied,
    )  # fmt: skip
    found = judged(made, OVERFIT, audit_of("leakage"))
    assert (found.verdict, found.caveats) == ("overfitting", ())
    assert finding(found, "leakage").severity == "info"


RARE = {"smallest": {"class": "b", "count": 20}, "largest": {"class": "a", "count": 1000}}


def test_a_quadrupled_loss_comes_before_a_rare_class():
    """Accuracy is the same everywhere, so the loss decides."""
    kept = answers(0.95, 2000, 1, loss=8.0)
    made = Made(
        answers(0.96, 3000), kept, answers(0.95, 2000, 2, loss=8.0), best_by_loss=(5, answers(0.95, 2000, 1, loss=1.0))
    )
    found = judged(made, OVERFIT, audit_of("class_imbalance", "critical", **RARE))
    assert found.verdict == "overfitting"
    assert finding(found, "class_imbalance").severity == "critical"
    assert "But the loss is" in found.explanation
    # Without late epochs nothing was lost, and the rare class is the most serious finding.
    fine = Made(answers(0.95, 3000), answers(0.95, 2000, 1), answers(0.95, 2000, 2))
    assert judged(fine, FINE, audit_of("class_imbalance", "critical", **RARE)).verdict == "class_imbalance"


def test_the_loss_decides_if_less_than_a_point_of_accuracy_was_lost():
    def of(lost: float) -> str:
        """Return the verdict if test is this much worse, and late epochs cost loss but no accuracy."""
        kept, best = answers(0.95, 50_000, 1, loss=8.0), answers(0.95, 50_000, 1, loss=1.0)
        test = answers(0.95 - lost, 50_000, 2, loss=8.0)
        made = Made(answers(0.951, 50_000), kept, test, best_by_loss=(5, best))
        return judged(made, OVERFIT, audit_of("split_shift", split="test")).verdict

    assert of(lost=0.008) == "overfitting"
    assert of(lost=0.03) == "split_shift"


def test_among_equally_serious_findings_caveats_come_last():
    fine = Made(answers(0.95, 3000), answers(0.95, 2000, 1), answers(0.95, 2000, 2))
    audit = [*audit_of("label_conflicts", images=9), *audit_of("class_imbalance", "critical", **RARE)]
    found = judged(fine, FINE, audit)
    assert (found.verdict, found.caveats) == ("class_imbalance", ("label_conflicts",))
    assert judged(fine, FINE, audit[:1]).verdict == "label_conflicts"
    # Without a measured gap, the order of the rules decides.
    assert diagnose(FINE, audit, None, spec()).verdict == "label_conflicts"


def test_the_larger_of_two_faults_gives_the_verdict():
    def of(labels: float, brightness: float) -> Diagnosis:
        undone = answers(0.9 - labels, 1000, 2)
        test = answers(0.9 - labels - brightness, 1000, 3)
        return judged(
            Made(answers(0.92, 3000), answers(0.9, 1000, 1), test, pixels=undone, labels=answers(0.9, 1000, 4))
        )

    assert of(labels=0.4, brightness=0.2).verdict == "label_order_mismatch"
    both = of(labels=0.2, brightness=0.4)
    assert both.verdict == "split_shift"
    explains = finding(both, "split_shift").explains
    assert explains.accuracy == pytest.approx(0.4)


def test_untrue_figures_come_first_then_broken_training_then_the_rest_of_the_gap():
    settled = history([2.2] * 12, [2.2] * 12)
    poor = Made(answers(0.3, 3000), answers(0.3, 1000, 1), answers(0.1, 1000, 2), labels=answers(0.3, 1000, 3))
    found = judged(poor, settled)
    assert [cause.code for cause in found.causes] == ["label_order_mismatch", "underfitting"]
    assert [cause.tier for cause in found.causes] == ["figures_not_true", "training_broken"]
    assert found.causes[0].points == pytest.approx(0.2)
    harder = Made(answers(0.3, 3000), answers(0.3, 1000, 1), answers(0.15, 1000, 2))
    assert [cause.code for cause in judged(harder, settled).causes] == ["underfitting", "split_shift"]
    falling = history([2.3 - 0.02 * epoch for epoch in range(12)], [2.3 - 0.02 * epoch for epoch in range(12)])
    unfinished = judged(harder, falling)
    assert unfinished.verdict == "not_converged"
    assert "answers only 30.0% of its training images correctly, so training has to be fixed first. The validation" in (
        unfinished.explanation
    )


def test_inverted_test_images_come_before_a_larger_gap_from_few_training_images():
    """Inverted images cost 37 points and few training images 55, but inversion is certain and free to fix."""
    made = Made(
        answers(1.0, 500), answers(0.45, 1000, 1), answers(0.09, 1000, 2), pixels=answers(0.46, 1000, 3),
        pixels_choice="inversion",
    )  # fmt: skip
    found = judged(made)
    assert [cause.code for cause in found.causes] == ["scale_mismatch", "too_little_data"]
    assert found.headline == "Test images are inverted."
    assert found.summary == (
        "With light and dark swapped back, test accuracy is 46% instead of 9%. Fix the test images, then collect more "
        "training images: 500 are few for this network."
    )


def test_a_test_accuracy_raised_by_copies_comes_before_a_larger_gap_that_is_named_too():
    test, copied = make_answers_with_copies(0.45, 1000, 500)
    made = Made(answers(1.0, 500), answers(0.45, 1000, 1), test, test_copied=copied)
    found = judged(made, audit=audit_of("leakage", test_in_train={"images": 500, "share": 0.5}))
    assert [cause.code for cause in found.causes] == ["leakage", "too_little_data"]
    assert found.headline == "Copies flatter test results; the gap comes from too few training images."
    assert found.summary == (
        "Half of the test images were copied from training: the true test accuracy is about 45%, not 72%. Remove the "
        "copies and measure again, then collect more training images: 500 are few for this network."
    )


def test_a_gap_without_a_known_cause_is_mentioned_beside_copies():
    test, copied = make_answers_with_copies(0.9, 1000, 500)
    made = Made(answers(0.95, 100), answers(0.9, 150, 1), test, test_copied=copied)
    found = judged(made, audit=audit_of("leakage", test_in_train={"images": 500, "share": 0.5}))
    assert found.headline == "Half of the test images were copied from training."
    assert found.summary == (
        "The true test accuracy is about 90%, not 95%; no other cause of the gap was found. Remove the copies and "
        "measure again."
    )


def test_results_that_copies_flatter_are_poor_if_the_network_learned_too_little():
    test, copied = make_answers_with_copies(0.3, 1000, 500)
    made = Made(answers(0.4, 500), answers(0.3, 1000, 1), test, test_copied=copied)
    found = judged(
        made,
        history(falling(40, 2.0), falling(40, 2.0)),
        audit_of("leakage", test_in_train={"images": 500, "share": 0.5}),
    )
    assert found.headline == "Copies flatter test results; poor results come from learning too little."
    assert found.summary.endswith("measure again, then use a larger network or less regularization.")


def test_a_verdict_on_copies_counts_as_the_audit_does_and_never_promises_less_accuracy():
    test, copied = make_answers_with_copies(0.95, 1000, 500)
    test.right[copied] = False
    made = Made(answers(1.0, 500), answers(0.95, 1000, 1), test, test_copied=copied)
    found = judged(made, audit=audit_of("leakage", test_in_train={"images": 240, "share": 0.24}))
    assert found.headline == "24% of the test images were copied from training."
    assert "did not raise test accuracy: without them it is 95%, not 48%" in found.summary


def test_three_copies_neither_precede_nor_hide_a_large_gap():
    test, copied = make_answers_with_copies(0.25, 600, 3)
    made = Made(answers(1.0, 500), answers(0.28, 1000, 1), test, test_copied=copied)
    audit = [*audit_of("leakage"), *audit_of("label_conflicts", images=8)]
    found = judged(made, audit=audit)
    assert found.verdict == "too_little_data"
    assert "label_conflicts" in found.caveats


def test_answers_worse_than_guessing_show_wrong_labels_despite_other_findings():
    rows = [[0] * 10 for _ in range(10)]
    for label in range(10):
        for place in range(10):
            rows[label][place] = 12 if place == (label + 1) % 10 else 1 if place == label else 2
    test = answers(1 / 29, 290, 2)
    made = Made(answers(0.9, 500), answers(0.42, 300, 1), test)
    evaluation = made.evaluation()
    known = replace(evaluation.splits["test"], confusion=tuple(map(tuple, rows)))
    evaluation = replace(evaluation, splits={**evaluation.splits, "test": known})
    found = diagnose(FINE, audit_of("class_shift", "warning", test={"distance": 0.2}), evaluation, spec())
    assert found.verdict == "label_order_mismatch"
    assert found.headline == "Test labels are in another order."
    assert found.summary.startswith(
        "It answers worse than guessing (3 of 100; guessing gives 10). Renaming the test classes gives 41 of 100"
    )
    request = found.findings[0].remedies[0].fix
    assert request["rename_classes"]["test"]["a"] == "b"


@pytest.mark.parametrize("loss", [-0.3, 0.3], ids=["loss better too", "loss worse"])
def test_a_kept_epoch_clearly_worse_than_the_last_is_reported(loss):
    """The last epoch is 20 points more accurate."""

    def of(made: Made) -> Diagnosis:
        better = compare_last(40, 5, "test", 1000, -0.2, (-0.22, -0.18), 0.0, loss, (loss, loss))
        return diagnose(FINE, None, replace(made.evaluation(), last=better), spec())

    made = Made(answers(0.92, 3000), answers(0.8, 1000, 1), answers(0.79, 1000, 2), kept_epoch=5)
    found = of(made)
    assert found.verdict == ("not_converged" if loss < 0 else "overconfidence")
    kept = "is worse" if loss < 0 else "is less accurate"
    assert f"The kept epoch (5) {kept} than the last (40)." in found.explanation
    # Labels in another order cost 40 points and come first.
    renamed = replace(made, test=answers(0.39, 1000, 2), labels=answers(0.79, 1000, 3))
    assert of(renamed).verdict == "label_order_mismatch"


def test_copies_that_clearly_raise_test_are_the_first_thing_to_fix():
    test, copied = make_answers_with_copies(0.8, 1000, 300)
    made = Made(answers(1.0, 3000), answers(0.8, 1000, 1), test, test_copied=copied)
    audit = audit_of("leakage", test_in_train={"images": 300, "share": 0.3})
    assert [cause.code for cause in judged(made, OVERFIT, audit).causes] == ["leakage", "overfitting"]
    known = Made(answers(0.82, 3000), answers(0.8, 1000, 1), test, test_copied=copied)
    alone = judged(known, FINE, audit)
    assert (alone.verdict, alone.caveats) == ("leakage", ())


def test_copies_counted_by_the_worker_are_reported_without_an_audit():
    test, copied = make_answers_with_copies(0.8, 1000, 300)
    found = judged(Made(answers(1.0, 3000), answers(0.8, 1000, 1), test, test_copied=copied), OVERFIT)
    leak = finding(found, "leakage")
    assert "300 of 1,000 test images (30.0%)" in leak.explanation
    assert leak.evidence == {"test": {"images": 300, "share": 0.3}}
    # If it is known that there are no copies, a better test is not a sign of any.
    better = Made(answers(0.95, 3000), answers(0.85, 1000, 1), answers(0.92, 1000, 2), test_copied=marked(1000, 0))
    assert "leakage" not in {finding.code for finding in judged(better).findings}
    unknown = replace(better, test_copied=None)
    assert "leakage" in {finding.code for finding in judged(unknown).findings}


def test_without_a_measured_gap_the_most_serious_finding_gives_the_verdict():
    validation, copied = make_answers_with_copies(0.86, 416, 45)
    made = Made(answers(0.99, 3340), validation, answers(0.5, 420, 1), validation_copied=copied)
    evaluation = replace(made.evaluation(), gap=None)
    found = diagnose(OVERFIT, audit_of("leakage"), evaluation, spec())
    assert (found.verdict, found.gap) == ("leakage", None)
    assert all(finding.explains is None for finding in found.findings)


# --- findings that own a term -------------------------------------------------------------------------


def owners(made: Made, findings: list[str], confusions: Any = None, severity: str = "warning") -> dict[str, str | None]:
    evaluation = made.evaluation()
    if confusions is not None:
        splits = {name: replace(evaluation.splits[name], confusion=rows) for name, rows in confusions.items()}
        evaluation = replace(evaluation, splits=evaluation.splits | splits)
    facts = collect_facts(FINE, None, evaluation, RemedyBase(spec()))
    found = compute_gap(made.stored())
    made_findings = [Finding(code, severity, "", {"class": "b"}) for code in findings]
    return {term.code: term.finding for term in attribute_terms(found, facts, made_findings).terms}


MADE = Made(answers(0.99, 3000), answers(0.8, 400, 1), answers(0.7, 1000, 2))


def test_a_term_belongs_to_the_first_finding_of_its_list():
    assert owners(MADE, ["too_little_data", "overfitting"])["generalisation"] == "overfitting"
    assert owners(MADE, ["overconfidence", "too_little_data"])["generalisation"] == "too_little_data"
    assert owners(MADE, ["split_shift"]) == {"generalisation": None, "split_difference": "split_shift"}
    assert owners(MADE, ["overfitting"], severity="info")["generalisation"] is None


def test_overconfidence_owns_the_gap_only_if_accuracy_is_not_affected():
    assert owners(MADE, ["overconfidence"])["generalisation"] is None
    same = replace(MADE, train=answers(0.8, 3000), validation=answers(0.8, 400, 1, loss=4.0))
    assert owners(same, ["overconfidence"])["generalisation"] == "overconfidence"


def test_a_term_that_clearly_narrows_the_gap_belongs_to_no_finding_about_widening():
    """The cases are wrong labels in training only, and pixels undone under wrong labels."""
    noisy = replace(MADE, train=answers(0.6, 3000))
    assert owners(noisy, ["label_noise"])["generalisation"] is None
    found = diagnose(FINE, None, replace(noisy.evaluation()), spec())
    assert finding(found, "label_noise").severity == "warning"
    undone = replace(MADE, pixels=answers(0.5, 1000, 3))
    assert owners(undone, ["split_shift"])["pixel_values"] is None


def test_late_epochs_that_are_not_clearly_worse_belong_to_no_finding():
    kept = answers(0.8, 400, 1)
    made = replace(MADE, validation=kept, best_by_accuracy=(3, kept), best_by_loss=(3, kept))
    assert owners(made, ["overfitting"])["late_epochs"] is None
    worse = replace(made, best_by_loss=(3, answers(0.95, 400, 2)))
    assert owners(worse, ["overfitting"])["late_epochs"] == "overfitting"


def test_a_collapsed_class_owns_the_gap_only_if_it_causes_half_of_it():
    def with_lost(in_class_b: int, elsewhere: int) -> str | None:
        """Return the owner of the gap for ten classes of 40 validation images with this many wrong answers."""
        rows = [[0] * 10 for _ in range(10)]
        for label in range(10):
            wrong = in_class_b if label == 1 else elsewhere
            rows[label][label], rows[label][(label + 1) % 10] = 40 - wrong, wrong
        train = [[300 if label == other else 0 for other in range(10)] for label in range(10)]
        right = sum(row[label] for label, row in enumerate(rows))
        made = replace(MADE, train=answers(1.0, 3000), validation=answers(right / 400, 400, 1))
        return owners(made, ["collapsed_class", "overfitting"], {"train": train, "validation": rows})["generalisation"]

    assert with_lost(36, 1) == "collapsed_class"
    assert with_lost(36, 8) == "overfitting"


def test_undone_pixels_belong_to_the_finding_of_that_change():
    made = replace(MADE, pixels=answers(0.9, 1000, 3))
    both = ["scale_mismatch", "split_shift"]
    for choice, code in (
        ("scale", "scale_mismatch"),
        ("inversion", "scale_mismatch"),
        ("brightness", "split_shift"),
        ("channel_order", "split_shift"),
        ("turn_left", "split_shift"),
    ):
        assert owners(replace(made, pixels_choice=choice), both)["pixel_values"] == code
        [found] = [
            finding.code for finding in judged(replace(made, pixels_choice=choice)).findings if finding.code in both
        ]
        assert found == code


def test_a_term_that_may_be_chance_belongs_to_no_finding_next_to_a_clear_term():
    unsure = replace(MADE, validation=answers(0.9, 400, 1), test=answers(0.6, 1000, 2), pixels=answers(0.89, 1000, 3))
    assert owners(unsure, ["split_shift"]) == {
        "generalisation": None,
        "split_difference": None,
        "pixel_values": "split_shift",
    }
    alone = replace(MADE, validation=answers(0.9, 400, 1), test=answers(0.89, 1000, 2))
    assert owners(alone, ["split_shift"])["split_difference"] == "split_shift"


def test_a_finding_explains_the_sum_of_its_terms():
    made = replace(MADE, best_by_accuracy=(3, answers(0.9, 400, 5)), best_by_loss=(3, answers(0.9, 400, 5)), epochs=10)
    found = judged(made, OVERFIT)
    explains = finding(found, "overfitting").explains
    assert explains.accuracy == pytest.approx(0.99 - 0.8)
    assert explains.interval[0] < 0.19 < explains.interval[1]
    shift = finding(found, "split_shift").explains
    assert shift.accuracy == pytest.approx(0.8 - 0.7)


@pytest.mark.parametrize(("lost", "severity"), [(0.0, "info"), (0.2, "critical")])
def test_a_finding_that_clearly_explains_less_than_half_a_point_is_an_info(lost, severity):
    made = Made(answers(0.97, 9000), answers(0.96, 60_000, 1), answers(0.96 - lost, 60_000, 2))
    audit = audit_of("split_shift", split="test")
    assert finding(judged(made, audit=audit), "split_shift").severity == severity
    few = Made(answers(0.97, 9000), answers(0.96, 100, 1), answers(0.96, 100, 2))
    assert finding(judged(few, audit=audit), "split_shift").severity == "critical"  # not clearly


def test_of_two_findings_with_the_same_code_the_first_owns_the_terms():
    audit = [*audit_of("split_shift", split="test"), *audit_of("class_shift", "warning", test={"distance": 0.2})]
    found = [finding for finding in judged(MADE, audit=audit).findings if finding.code == "split_shift"]
    assert [finding.explains is not None for finding in found] == [True, False]


# --- the tables of the documentation ------------------------------------------------------------------


def table_of(page: str, heading: str) -> list[list[str]]:
    """Return the code words in the first two cells of each row of the first table below a heading."""
    section = (DOCS / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\|(?!---)(.*)\|$", section, re.MULTILINE)[1:]
    return [[", ".join(re.findall(r"`([a-z_]+)`", cell)) for cell in row.split("|")[:2]] for row in rows]


def test_the_documentation_lists_the_tiers_in_order():
    assert [row[1] for row in table_of("diagnosis.md", "What to fix first")] == list(TIERS)
    page = (DOCS / "diagnosis.md").read_text(encoding="utf-8")
    assert f"Caveats: {', '.join(f'`{code}`' for code in CAVEATS)}." in page


def test_the_documentation_lists_the_findings_of_each_term():
    table = {row[0]: tuple(row[1].split(", ")) for row in table_of("gap.md", "Whose a term is")}
    assert table == dict(FINDINGS_OF_TERM)


@pytest.mark.parametrize(("trained", "verdict"), [(0.4, "underfitting"), (0.9, "overfitting")])
@pytest.mark.parametrize("still_falls", [False, True])
def test_poorly_learned_training_images_come_before_memorization(trained, verdict, still_falls):
    """This holds although validation is worse and its loss rises, whatever the training loss does."""
    falling = history([2.3 - 0.1 * epoch for epoch in range(20)], [abs(epoch - 8) / 8 + 1.5 for epoch in range(20)])
    made = Made(answers(trained, 1000), answers(0.25, 500, 1), answers(0.25, 500, 2))
    assert judged(made, falling if still_falls else OVERFIT).verdict == verdict


def test_copies_are_not_just_removed_from_splits_that_differ_by_nature():
    validation, in_validation = make_answers_with_copies(0.8, 600, 120, 1)
    test, in_test = make_answers_with_copies(0.4, 600, 150, 2)
    made = Made(answers(0.99, 3000), validation, test, validation_copied=in_validation, test_copied=in_test)
    found = judged(made)
    assert any(other.is_shift_by_nature for other in found.findings)
    leak = finding(found, "leakage")
    assert leak.fix == {"resplit": True}
    assert leak.remedies[0].reason.startswith(
        "Split all 4,200 images again: the 270 images with a copy in another split stay together with their copies"
    )
    assert "Split all images again, with copies kept together" in found.summary
    cause = next(cause for cause in found.causes if cause.code == "leakage")
    assert cause.figure_after is None  # other images are then in each split
    # Where splits do not differ, the copies alone are removed.
    alike = Made(answers(0.99, 3000), validation, *make_answers_with_copies(0.8, 600, 150, 2)[:1], test_copied=in_test)
    assert finding(judged(alike), "leakage").fix == {"drop_copies": True}
