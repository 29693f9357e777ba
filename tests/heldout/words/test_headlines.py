"""Headlines and summaries of audits and evaluations, and their limits of length."""

from typing import get_args

import pytest

from heldout.stored.audit import AuditFinding, Severity
from heldout.stored.results import GapsView, Measurement, SplitResult, SplitsResult
from heldout.views.model import EvaluationView
from heldout.words.data_and_models import CODES, describe_audit, describe_evaluation, fold_notes
from tests.reading import assert_short

LONG = "a class with a rather long name, as folders may have"


def finding(code: str, severity: Severity = "critical", **numbers: object) -> AuditFinding:
    return AuditFinding(
        code=code, severity=severity, numbers=dict(numbers), explanation="So it is.", what_to_do="Fix it."
    )


@pytest.mark.parametrize("code", sorted(CODES))
def test_an_audit_is_short(code):
    numbers = {"split": "validation", "smallest": {"class": LONG, "count": 1}}
    for others in (0, 1, 9):
        found = [finding(code, **numbers), *(finding("narrow_range", "warning") for _ in range(others))]
        headline, summary = describe_audit(found)
        assert_short(headline, summary)
        assert (("other finding." if others == 1 else f"other {others} findings.") in summary) == (others > 0)


def test_an_audit_names_the_most_serious_finding_and_its_split():
    copies = finding("leakage", test_in_train={"images": 1060}, validation_in_train={"images": 3})
    assert describe_audit([copies])[0] == "1,060 test images were copied from training."
    assert describe_audit([finding("inverted_values", split="test")])[0] == "The test images are inverted."
    info = finding("grey_as_rgb", "info")
    assert describe_audit([info, finding("blank_images", "warning")])[0] == "Some images show nothing."
    assert describe_audit([info])[0] == "The images are gray but stored in color."
    assert_short(*describe_audit([]))
    assert describe_audit([])[0] == "The audit found nothing."
    assert_short(*describe_audit([finding("of_a_later_release")]))


def test_a_note_about_another_split_belongs_to_the_serious_finding_of_its_kind():
    of_test, of_validation = finding("split_shift", split="test"), finding("split_shift", "info", split="validation")
    of_validation = of_validation.model_copy(update={"explanation": "It differs a little."})
    gray = finding("grey_as_rgb", "info")
    [folded, note] = fold_notes([of_test, of_validation, gray])
    assert (folded.severity, folded.numbers) == ("critical", {"split": "test"})
    assert folded.explanation == "So it is. It differs a little."
    assert note == gray
    two = [of_test, finding("split_shift", "warning", split="validation")]
    assert fold_notes(two) == two  # each needs something to be done


def measured(test: float | None, as_given: float | None = None) -> Measurement:
    def result(accuracy: float) -> SplitResult:
        return SplitResult(loss=0.5, accuracy=accuracy, count=100, interval=(0.0, 1.0))

    def splits(accuracy: float | None) -> SplitsResult:
        tested = None if accuracy is None else result(accuracy)
        return SplitsResult(
            train=result(0.99), validation=result(0.9), test=tested, gap=GapsView(validation=None, test=None)
        )

    return Measurement(metrics=splits(test), as_given=None if as_given is None else splits(as_given))


def test_an_evaluation_says_how_often_the_model_is_right():
    headline, summary = describe_evaluation("succeeded", measured(0.876))
    assert headline == "The model gets 88 of 100 test images right."
    assert summary == (
        "It also gets 90 of 100 validation images and 99 of 100 training images right. The verdict says what to fix."
    )
    assert describe_evaluation("succeeded", measured(None))[0] == "The model gets 90 of 100 validation images right."
    assert "only 12 of 100" in describe_evaluation("succeeded", measured(0.876, as_given=0.12))[1]
    for known in (measured(1.0), measured(0.0), measured(0.999, 0.001)):
        assert_short(*describe_evaluation("succeeded", known))


@pytest.mark.parametrize("status", get_args(EvaluationView.model_fields["status"].annotation))
def test_an_evaluation_without_figures_says_why(status):
    assert_short(*describe_evaluation(status, None))
