"""Wrong labels that a search has counted: when they are reported, and what they cost."""

import pytest

from heldout.diagnosis import WITHOUT_TEST, Evaluation, Finding, History, diagnose
from heldout.stored.audit import AuditFinding, SplitLabels
from heldout.stored.gap import AnswersToTraining, StoredGap, SureAnswers, Tally
from tests.heldout.diagnosis.made import FINE, figures

CLASSES = tuple(f"class {number}" for number in range(10))


def find_noise(train: float, test: float, *, low: float = 0.8, images: int = 1000, **options) -> list[Finding]:
    """Find label noise in a training that answers 80% of all images correctly."""
    labels = {
        split: SplitLabels(
            images=images,
            count=round(share * images),
            low=round(low * share * images),
            high=round(1.2 * share * images),
        )
        for split, share in (("train", train), ("test", test))
    }
    accuracy = options.pop("accuracy", 0.8)
    evaluation = Evaluation({split: figures(accuracy, images) for split in ("train", "validation", "test")}, CLASSES)
    found = diagnose(FINE, options.pop("audit", None), evaluation, labels=labels, **options)
    return [finding for finding in found.findings if finding.code == "label_noise"]


@pytest.mark.parametrize(("train", "test"), [(0.2, 0.2), (0.2, 0.0), (0.0, 0.2)])
def test_wrong_labels_in_any_split_are_reported(train, test):
    [found] = find_noise(train, test)
    assert set(found.evidence["wrong_labels"]) == {
        split for split, share in (("train", train), ("test", test)) if share
    }


def test_the_summary_says_how_many_labels_are_wrong_in_each_split():
    labels = {split: SplitLabels(images=1000, count=200, low=160, high=240) for split in ("train", "test")}
    evaluation = Evaluation({split: figures(0.8, 1000) for split in ("train", "validation", "test")}, CLASSES)
    found = diagnose(FINE, None, evaluation, labels=labels)
    assert found.verdict == "label_noise"
    assert "About 20 of 100 training labels and 20 of 100 test labels are wrong." in found.summary


def test_few_or_uncertain_wrong_labels_are_not_reported():
    assert find_noise(0.02, 0.03) == []
    assert find_noise(0.2, 0.2, low=0.1) == []


def test_wrong_test_labels_cost_the_accuracy_of_as_many_images():
    """If 200 of 1,000 labels are wrong, even a perfect network gets only 800 right."""
    [found] = find_noise(0.0, 0.2)
    right_labels = 0.8 / (1 - 0.2)
    assert found.evidence["points"] == pytest.approx(right_labels - 0.8)
    low, high = found.evidence["points_interval"]
    assert low < found.evidence["points"] <= high <= 0.2  # at most what is missing to 100%
    assert "about 20.0% too low" in found.explanation


def test_wrong_test_labels_are_ignored_if_test_is_left_out():
    [found] = find_noise(0.2, 0.2, splits=WITHOUT_TEST)
    assert set(found.evidence["wrong_labels"]) == {"train"}
    assert "points" not in found.evidence
    assert find_noise(0.0, 0.2, splits=WITHOUT_TEST) == []


def test_a_training_accuracy_explained_by_wrong_labels_is_not_underfitting():
    def codes(train: float) -> set[str]:
        labels = {"train": SplitLabels(images=2000, count=int(2000 * train), low=int(1900 * train), high=2000)}
        guessing = Evaluation({split: figures(0.55, 2000) for split in ("train", "validation")}, CLASSES)
        found = diagnose(FINE, None, guessing, labels=labels)
        return {finding.code for finding in found.findings if finding.severity != "info"}

    assert codes(0.4) >= {"label_noise"}
    assert "underfitting" not in codes(0.4)
    assert codes(0.05) >= {"label_noise", "underfitting"}


def test_wrong_labels_are_not_counted_if_the_audit_found_another_class_order():
    order = AuditFinding(
        code="label_order_mismatch",
        severity="critical",
        numbers={"split": "test"},
        explanation="Test classes are in another order.",
        what_to_do="Rename them.",
    )
    assert find_noise(0.2, 0.2) != []
    assert find_noise(0.2, 0.2, audit=[order]) == []


# --- answers to training images -----------------------------------------------------------------------


def sort_answers(*contradicted: float, sureness: float = 0.8, wrong: float = 0.45, count: int = 1000, epoch: int = 5):
    """Return answers of which these shares contradict the label, in the surest tenths; `wrong` in all."""
    tenths = tuple(
        SureAnswers(count=count // 10, contradicted=round(share * count / 10), probability=sureness)
        for share in contradicted
    )
    right = round((1 - wrong) * count)
    return AnswersToTraining(
        epoch=epoch, count=count, correct=right, tenths=tenths, claimed=0, claimed_by_others=0, classes=()
    )


def diagnose_answers(answers: AnswersToTraining | None, *, train=0.6, validation=0.5, test=0.5, history=FINE, **others):
    accuracies = {"train": train, "validation": validation, "test": test}
    tallies = {
        split: Tally(count=1000, correct=round(1000 * accuracy), loss=1.0, loss_variance=1.0)
        for split, accuracy in accuracies.items()
    }
    gap = StoredGap(kept_epoch=10, epochs=10, **tallies, **{"early_training_answers": answers, **others})
    splits = {split: figures(accuracy, 1000) for split, accuracy in accuracies.items()}
    return diagnose(history, None, Evaluation(splits, CLASSES, gap=gap))


def find_in_answers(answers: AnswersToTraining | None, **options) -> list[Finding]:
    return [finding for finding in diagnose_answers(answers, **options).findings if finding.code == "label_noise"]


def test_labels_that_the_surest_answers_contradict_are_wrong():
    [found] = find_in_answers(sort_answers(0.1, 0.2, 0.3))
    assert (found.evidence["share"], found.evidence["surest"], found.evidence["contradicted"]) == (0.15, 200, 30)
    assert "After epoch 5, the network contradicts 15.0% of the training labels even where it is surest" in (
        found.explanation
    )
    diagnosis = diagnose_answers(sort_answers(0.1, 0.2, 0.3))
    assert diagnosis.causes[0].code == "label_noise"


def test_the_summary_says_where_the_network_contradicts_labels():
    diagnosis = diagnose_answers(sort_answers(0.1, 0.2, 0.3), train=0.9, validation=0.62, test=0.62)
    assert diagnosis.verdict == "label_noise"
    assert "Where the network is surest, it contradicts 15 of 100 training labels." in diagnosis.summary


def test_more_epochs_still_come_before_contradicted_labels():
    """A network with wrong labels may be trained too briefly too."""
    falling = tuple(2.3 - 0.15 * epoch for epoch in range(10))
    course = History(train_loss=falling, validation_loss=falling)
    diagnosis = diagnose_answers(sort_answers(0.1, 0.2, 0.3), history=course)
    assert [cause.code for cause in diagnosis.causes[:2]] == ["not_converged", "label_noise"]


@pytest.mark.parametrize(
    "answers",
    [
        sort_answers(0.0, 0.04, 0.1),  # few of them contradict
        sort_answers(0.0, 0.12, count=100),  # so few images that it may be chance
        sort_answers(0.5, 0.6, 0.7, sureness=0.3, wrong=0.8),  # nothing is known yet
        sort_answers(0.05, 0.12, sureness=0.75),  # better than the network promises: hard images with right labels
        sort_answers(0.02, 0.1, sureness=0.9, wrong=0.5),  # the others are contradicted eight times as often
        None,
    ],
    ids=["few", "chance", "unlearned", "unsure", "hard", "unmeasured"],
)
def test_hard_images_are_not_taken_for_wrong_labels(answers):
    assert find_in_answers(answers) == []


def test_the_earliest_answers_count_because_kept_weights_have_memorized_wrong_labels():
    memorized = sort_answers(0.0, 0.0, 0.0, sureness=1.0, wrong=0.02, epoch=10)
    assert len(find_in_answers(sort_answers(0.1, 0.2, 0.3), training_answers=memorized)) == 1
    assert find_in_answers(None, training_answers=memorized) == []
    [found] = find_in_answers(None, training_answers=sort_answers(0.1, 0.2, 0.3, epoch=10))
    assert found.explanation.startswith("The network contradicts")


def test_a_test_set_that_is_answered_better_shows_how_many_validation_labels_are_wrong():
    """Of ten classes 80% are answered rightly, and 27% of the labels of validation were replaced at random."""
    share, right = 0.27, 0.8
    validation = right * (1 - share) + (1 - right) * share / 9
    [found] = find_in_answers(sort_answers(0.1, 0.2, 0.3), validation=validation, test=right)
    assert found.evidence["validation_share"] == pytest.approx(share, abs=0.002)
    assert "about 27% of the validation labels are wrong too" in found.explanation
    [same] = find_in_answers(sort_answers(0.1, 0.2, 0.3))
    assert "validation_share" not in same.evidence
