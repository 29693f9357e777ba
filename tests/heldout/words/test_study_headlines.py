"""Headlines and summaries of studies and learning curves, and their limits of length."""

import pytest

from heldout.words.study_answers import answer_questions, describe_study, explain_base_ensemble, phrase_question
from tests.analysis.reports import made_studies as made
from tests.reading import assert_short

CURE = made.cure()


def changed(study, **fields):
    return study.model_copy(update=fields)


def rename_winner(name: str):
    """Return the study with its winning remedy renamed."""
    arms = [arm.model_copy(update={"name": name}) if arm.name == "dropout" else arm for arm in CURE.arms]
    return changed(CURE, arms=arms, conclusion=changed(CURE.conclusion, remedy=name))


def by_loss_alone():
    """Return a study whose winner is clearly better in loss only."""
    dropout = CURE.arms[1]
    bounds = dropout.difference.adjusted_intervals.model_copy(update={"accuracy": (-0.01, 0.02)})
    arm = changed(dropout, difference=changed(dropout.difference, adjusted_intervals=bounds))
    return changed(CURE, arms=[CURE.arms[0], arm, *CURE.arms[2:]])


def recorded(kind, remedy):
    """Return a study of trainings that were recorded before it."""
    conclusion = changed(CURE.conclusion, kind=kind, remedy=remedy, refit=None, needs=None)
    return changed(CURE, kind="recorded", conclusion=conclusion)


STUDIES = {
    "cure": CURE,
    "by loss": by_loss_alone(),
    "without refit": changed(CURE, conclusion=changed(CURE.conclusion, refit=None)),
    "long name": rename_winner("dropout+label_smoothing+horizontal_flip+shift+l2+ema"),
    "own long name": rename_winner("a_patch_of_my_own_with_a_name_that_goes_on_and_on"),
    "nothing": made.nothing_helped(),
    "seeds": made.cannot_tell(),
    "images": made.cannot_tell({"seeds": None, "images": 2500}),
    "both": made.cannot_tell({"seeds": 12, "images": 12_500}),
    "neither": made.cannot_tell({"seeds": None, "images": None}),
    "running": made.running(),
    "waiting": changed(made.running(), waits_for="the search for copies in pets@1 has not ended"),
    "failed": changed(made.running(), status="failed", error=made.error("Its base failed.")),
    "cancelled": changed(made.running(), status="cancelled"),
    "recorded cure": recorded("cure", "dropout"),
    "recorded better": recorded("better", "dropout"),
    "recorded worse": recorded("worse", None),
    "recorded doubt": recorded("cannot_tell", None),
    "cure by accuracy": changed(CURE, objective="accuracy"),
    "long name by accuracy": changed(
        rename_winner("a_patch_of_my_own_with_a_name_that_goes_on_and_on"), objective="accuracy"
    ),
    "nothing by accuracy": changed(made.nothing_helped(), objective="accuracy"),
    "doubt by accuracy": changed(made.cannot_tell(), objective="accuracy"),
    "recorded better by accuracy": changed(recorded("better", "dropout"), objective="accuracy"),
    "recorded worse by accuracy": changed(recorded("worse", None), objective="accuracy"),
    "recorded doubt by accuracy": changed(recorded("cannot_tell", None), objective="accuracy"),
    "curve": made.learning_curve(),
    "unsure curve": changed(
        made.learning_curve(), forecast=made.learning_curve().forecast.model_copy(update={"interval": (0.01, 0.06)})
    ),
    "no forecast": changed(made.learning_curve(), forecast=None, no_forecast="The errors do not fall."),
    "running curve": changed(made.learning_curve(), forecast=None, sizes=[], status="running"),
}


@pytest.mark.parametrize("name", STUDIES)
def test_the_headline_and_summary_of_a_study_are_short(name):
    assert_short(*describe_study(STUDIES[name]))


def test_a_recorded_study_says_whether_it_is_confirmed():
    headlines = {kind: describe_study(STUDIES[f"recorded {kind}"])[0] for kind in ("cure", "better", "worse", "doubt")}
    assert headlines["cure"] == "Dropout is better than the base, and confirmed."
    assert headlines["better"] == "Dropout is better than the base, but not confirmed."
    assert headlines["worse"] == "Every arm is worse than the base."
    assert headlines["doubt"] == "These runs cannot tell which arm is better."
    small = "Any benefit is probably too small to matter: keep the base."
    assert describe_study(STUDIES["recorded doubt"])[1] == small, "no number of seeds would change that"


def test_remedies_that_surely_harm_are_not_said_to_gain_too_little():
    base, *_, harmful = STUDIES["nothing"].arms
    assert describe_study(changed(STUDIES["nothing"], arms=[base, harmful]))[1].startswith(
        "It makes the network worse."
    )
    doubtful = STUDIES["nothing"].arms[1]
    assert describe_study(changed(STUDIES["nothing"], arms=[base, doubtful]))[1].startswith(
        "It probably makes the network worse or gains too little to matter."
    )


def test_a_remedy_that_could_not_be_compared_is_not_said_to_be_useless():
    base, first, second, *_ = STUDIES["nothing"].arms
    failed = second.model_copy(update={"difference": None})
    assert describe_study(changed(STUDIES["nothing"], arms=[base, first, failed])) == describe_study(
        changed(STUDIES["nothing"], arms=[base, first])
    )


def test_a_study_whose_script_runs_elsewhere_does_not_tell_to_wait():
    running = changed(made.running(), kind="external")
    assert describe_study(running)[1].endswith("It continues while your script runs.")


def test_a_study_with_an_objective_speaks_of_that_measure():
    headlines = {name: describe_study(study)[0] for name, study in STUDIES.items() if name.endswith(" by accuracy")}
    assert list(headlines.values()) == [
        "Dropout improves accuracy.",
        "One remedy improves accuracy.",
        "None of the 3 remedies improves accuracy.",
        "The study cannot tell what improves accuracy.",
        "Dropout is better than the base by accuracy, but not confirmed.",
        "Every arm is worse than the base by accuracy.",
        "These runs cannot tell which arm is better by accuracy.",
    ]
    by_loss = changed(STUDIES["nothing"], arms=STUDIES["nothing"].arms[:2], objective="loss")
    assert describe_study(by_loss)[0].endswith(" does not improve loss.")
    assert describe_study(by_loss)[1].startswith("It probably makes loss worse or gains too little to matter.")
    assert phrase_question(by_loss).endswith(" improve the network's loss on images it has not seen?")
    assert describe_study(changed(rename_winner("more_epochs"), objective="loss"))[0] == "More epochs improve loss."


def test_a_study_says_what_helps_by_how_much_and_what_to_do():
    assert describe_study(CURE) == (
        "Dropout helps.",
        "Validation accuracy is 98% instead of 97%. Use the final model, trained with it.",
    )
    assert describe_study(STUDIES["by loss"])[1].startswith("Validation loss is 0.0")
    assert describe_study(STUDIES["nothing"])[0] == "None of the 3 remedies helps."
    assert "4 more seeds" in describe_study(STUDIES["seeds"])[1]
    assert describe_study(rename_winner("more_epochs"))[0] == "More epochs help."
    assert describe_study(rename_winner("pretrained"))[0] == "Pretrained features help."
    assert describe_study(STUDIES["long name"])[0] == "A combination of remedies helps."
    assert describe_study(STUDIES["curve"])[0] == "More training images would help."
    assert describe_study(STUDIES["unsure curve"])[0] == "More training images may not help."


def test_a_readers_questions_are_answered():
    answers = dict(answer_questions(CURE))
    assert answers["What helped, and by how much?"] == CURE.conclusion.explanation
    assert "looked at only after the choice" in answers["Were test images used to choose?"]
    assert "`job_01k9refit`" in answers["What should I do now?"]
    assert answers["What did it cost?"].startswith("24 trainings, which took 16 min 36 s of computing in all.")
    assert dict(answer_questions(STUDIES["no forecast"]))["What will more images bring?"] == "The errors do not fall."
    assert list(dict(answer_questions(STUDIES["running"]))) == list(answers)


def with_ensemble(accuracy: float, low: float):
    """Return the study with an ensemble of the base of this test accuracy."""
    ensemble = CURE.ensemble
    bounds = ensemble.base.test.intervals.model_copy(update={"accuracy": (low, 0.999)})
    test = changed(ensemble.base.test, accuracy=accuracy, intervals=bounds)
    return changed(CURE, ensemble=changed(ensemble, base=changed(ensemble.base, test=test)))


def test_an_ensemble_of_the_unchanged_network_that_beats_the_cure_is_named():
    assert CURE.conclusion.test.winner.accuracy == 0.9784
    sure = "5 networks of the base together (an ensemble) get 98.6% of test images right, more than one network with "
    sure += "dropout (97.8%). They need 5 times the computing for each answer."
    assert explain_base_ensemble(with_ensemble(0.986, low=0.98)) == sure
    assert explain_base_ensemble(with_ensemble(0.986, low=0.97)) == f"{sure} The difference may be chance."


def test_an_ensemble_that_is_no_better_than_the_cure_is_not_named():
    assert explain_base_ensemble(CURE) is None
    assert explain_base_ensemble(with_ensemble(0.9784, low=0.97)) is None
    assert explain_base_ensemble(made.running()) is None


def test_the_explanation_of_an_ensemble_is_among_the_answers():
    ensemble = changed(CURE.ensemble, explanation="It is better.")
    assert ("Is there anything better?", "It is better.") in answer_questions(changed(CURE, ensemble=ensemble))
    assert "Is there anything better?" not in dict(answer_questions(CURE))
