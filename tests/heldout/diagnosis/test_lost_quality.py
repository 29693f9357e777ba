"""What blurred test images cost is a term of the gap, and copies decide whether classes are in another order."""

import numpy as np
import pytest

from heldout.diagnosis import diagnose
from heldout.diagnosis.copy_labels import count_agreeing_copies, is_disproved_by_copies
from heldout.diagnosis.gap import compute_gap
from heldout.stored.audit import AuditFinding
from tests.heldout.diagnosis.made import FINE
from tests.heldout.diagnosis.made_gap import Answers, Made, answers


def spoil(clean: Answers, share: float) -> Answers:
    """The same images answered again, of which this share is lost."""
    lost = np.flatnonzero(clean.right)[: round(share * len(clean.right))]
    right, loss = clean.right.copy(), clean.loss.copy()
    right[lost], loss[lost] = False, 2.0
    return Answers(right, loss)


def blurred(cost: float = 0.1, test: float = 0.75, **more) -> Made:
    """Validation is answered at 85%, and loses `cost` if it is blurred as test is."""
    validation = answers(0.85, 2000, seed=1)
    return Made(answers(0.9, 6000), validation, answers(test, 2000, seed=2), degraded=spoil(validation, cost), **more)


def test_the_term_is_what_validation_images_lose_and_the_terms_still_add_up():
    found = compute_gap(blurred(test=0.72).stored())
    term, rest = found.find_term("image_quality"), found.find_term("split_difference")
    assert term.accuracy == pytest.approx(0.1)
    assert term.accuracy_interval[0] > 0.08
    assert term.how == "estimated"
    assert rest.accuracy == pytest.approx(0.75 - 0.72)
    assert sum(term.accuracy for term in found.terms) == pytest.approx(found.accuracy)
    assert sum(term.loss for term in found.terms) == pytest.approx(found.loss)


def test_copies_in_validation_are_left_out_before_it_is_blurred():
    copied = np.arange(2000) < 500
    made = blurred(validation_copied=copied)
    made.degraded = spoil(made.clean_validation(), 0.1)
    found = compute_gap(made.stored())
    assert found.find_term("image_quality").accuracy == pytest.approx(0.1, abs=0.001)
    assert sum(term.accuracy for term in found.terms) == pytest.approx(found.accuracy)


@pytest.mark.parametrize(
    ("quality", "name"),
    [("blur", "blurred"), ("noise", "noisy"), ("compression", "strongly compressed"), ("resolution", "enlarged")],
)
def test_the_verdict_names_what_test_images_have_lost_and_its_points(quality, name):
    found = diagnose(FINE, None, blurred(quality=quality).evaluation())
    assert found.verdict == "split_shift"
    [finding] = [finding for finding in found.findings if finding.code == "split_shift"]
    assert finding.evidence["quality"] == quality
    assert finding.explains.accuracy == pytest.approx(0.1, abs=0.01)
    assert found.headline.startswith(f"The test images are {name}")
    assert "That costs about 10 points" in found.summary
    assert "train it on some" in finding.remedies[0].reason
    assert f"worse test images ({name}" in found.explanation


def test_a_shift_that_the_audit_saw_and_its_measured_blur_are_one_finding_that_says_what_to_do():
    shift = AuditFinding(
        code="split_shift",
        severity="critical",
        numbers={"split": "test", "effect": 0.2},
        explanation="They differ.",
        what_to_do="Look.",
    )
    found = diagnose(FINE, [shift], blurred().evaluation())
    [finding] = [finding for finding in found.findings if finding.code == "split_shift"]
    assert finding.severity == "critical"
    assert {"audit", "effect", "quality", "strength"} <= finding.evidence.keys()
    assert finding.explanation.startswith("They differ. The test images are blurred")
    assert found.headline.startswith("The test images are blurred")
    assert "train it on some" in found.causes[0].what_to_do


def test_blur_that_costs_nothing_is_no_fault():
    found = diagnose(FINE, None, blurred(cost=0.001, test=0.85).evaluation())
    assert "split_shift" not in [finding.code for finding in found.findings if finding.severity != "info"]


def test_test_images_that_are_worse_than_their_blur_explains_are_still_of_another_kind():
    found = diagnose(FINE, None, blurred(test=0.55).evaluation())
    rest = found.gap.find_term("split_difference")
    assert rest.accuracy == pytest.approx(0.2)
    assert rest.finding == "split_shift"


# --- labels of copies ----------------------------------------------------------------------------

SWAP = (1, 0, 2, 3, 4, 5, 6, 7, 8, 9)
# Of 406 pairs 281 agree as they are, and 87 would if two classes were swapped.
PAIRS = ((0, 0, 140), (1, 1, 141), (0, 1, 45), (1, 0, 42), (0, 5, 38))


def renamed(**more) -> Made:
    test = answers(0.6, 2000, seed=2)
    better = Answers(test.right | (np.arange(2000) < 900), test.loss)
    return Made(
        answers(0.9, 6000),
        answers(0.85, 2000, seed=1),
        test,
        labels=better,
        renaming=SWAP,
        test_copied=np.zeros(2000, bool),
        **more,
    )


def test_copies_are_counted_as_they_are_and_renamed():
    assert count_agreeing_copies(PAIRS, SWAP) == (281, 87)
    assert is_disproved_by_copies(PAIRS, SWAP)
    assert not is_disproved_by_copies([(0, 1, 281), (0, 0, 87)], SWAP)
    assert not is_disproved_by_copies([(5, 5, 400)], SWAP)  # a class that is not renamed says nothing
    assert not is_disproved_by_copies([(0, 0, 2)], SWAP)


def test_a_renaming_that_copies_disprove_is_never_reported_or_offered():
    trusted, disproved = (diagnose(FINE, None, renamed(label_pairs=pairs).evaluation()) for pairs in ((), PAIRS))
    assert trusted.verdict == "label_order_mismatch"
    assert "label_order_mismatch" not in [finding.code for finding in disproved.findings]
    assert disproved.gap.find_term("label_order") is None
    offered = [remedy.fix for finding in disproved.findings for remedy in finding.remedies if remedy.fix]
    assert not any("rename_classes" in fix for fix in offered)


def test_copies_that_agree_once_renamed_are_named_as_evidence():
    pairs = ((0, 1, 40), (1, 0, 30), (0, 0, 2))
    found = diagnose(FINE, None, renamed(label_pairs=pairs).evaluation())
    [finding] = [finding for finding in found.findings if finding.code == "label_order_mismatch"]
    assert finding.evidence["copies"] == {"agreeing": 2, "agreeing_renamed": 70}
    assert "2 have the label of their copy as they are, and 70 if they are renamed" in finding.explanation
