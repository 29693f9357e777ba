"""What a report says, sentence by sentence, of each kind of conclusion; and that all its figures are in its JSON."""

import re

import pytest

from analysis.reports.changes import changes_of
from tests.analysis.reports import made_studies as made
from tests.analysis.reports.reading import html, html_tables, report, text_of


def answers_of(study):
    return {one.question: one.answer for one in report(study).in_short}


def test_a_cure_is_named_with_its_size_its_range_and_what_test_says_of_it():
    found = report(made.cure())
    assert found.question == "Does one of 4 changes (remedies) make the network better on images that it has not seen?"
    assert (
        found.answer
        == 'Yes, "dropout" does: 1.1 more of 100 unseen images are answered correctly (very likely 0.5 to 1.7 more).'
    )
    assert {one.question: one.answer for one in found.in_short} == {
        "What helped, and by how much?": '"dropout": 1.1 more of 100 unseen images are answered correctly (very likely '
        "0.5 to 1.7 more); the loss is 0.073 lower (very likely 0.042 to 0.104 lower). (Loss: how far answers are from "
        "being right and certain; lower is better.) Also surely better than the "
        'unchanged network: "shift". Surely worse: "horizontal flip".',
        "Is that sure?": 'Yes, very likely: the whole range of "dropout" lies on the better side of 0 (no difference) '
        "in right answers and in loss. "
        "The ranges are so wide that in 95 of 100 such studies all of them hold the true differences. On 1,000 test "
        'images the unchanged network answers 96.7% correctly, and the one with "dropout" 97.8%: 1.1 more of 100 '
        "(very likely 0.5 to 1.7 more): it holds there too.",
        "Were test images used to choose?": "No. Everything was chosen by validation images. Only then, after the "
        "choice, was each training of the unchanged network and of the chosen one measured on test images, once: 12 "
        "looks in all.",
        "What should I do now?": "Use the model of `job_01k9refit`, which the command below downloads when its "
        'training is done. That job trains with "dropout" on training and validation images together, so there are no '
        'validation figures of it. For trainings of your own, take winner.json below: the spec with "dropout".',
        "What would make it surer?": "More trainings of each network (seeds) even out the luck of single trainings; "
        "more validation images even out the luck of which images were asked. Both make the ranges narrower.",
        "What did it cost?": "24 trainings, which took 17 minutes of computing in all. Labels of validation images "
        "were looked at 460 times, labels of test images 12 times.",
    }
    assert {arm.name: arm.effect for arm in found.arms} == {
        "base": None,
        "dropout": "better",
        "label_smoothing": "may_be_chance",
        "shift": "better",
        "horizontal_flip": "worse",
    }
    assert found.winning_spec.network.blocks[2].dropout == 0.25
    assert found.arms[1].changes == ["network.blocks[all].dropout: 0 → 0.25"]


def test_a_cure_by_loss_alone_does_not_promise_right_answers():
    study = made.cure()
    bounds = study.arms[1].difference.adjusted_intervals.model_copy(update={"accuracy": (-0.002, 0.024)})
    difference = study.arms[1].difference.model_copy(update={"adjusted_intervals": bounds})
    arms = [study.arms[0], study.arms[1].model_copy(update={"difference": difference})]
    assert report(study.model_copy(update={"arms": arms})).answer == (
        'Yes, "dropout" does: the loss is 0.073 lower (very likely 0.042 to 0.104 lower), which surely brings its '
        "answers nearer to the truth; whether more of them are right is not sure: 1.1 more of 100 unseen images are "
        "answered correctly (very likely from 0.2 fewer to 2.4 more)."
    )


def test_test_images_that_disagree_are_not_hidden():
    study = made.cure()
    harm = made._difference(-0.011, 0.004, 0.02, 0.01)
    test = study.conclusion.test.model_copy(
        update={"difference": study.conclusion.test.difference.model_validate(harm)}
    )
    conclusion = study.conclusion.model_copy(update={"test": test})
    sure = answers_of(study.model_copy(update={"conclusion": conclusion}))["Is that sure?"]
    assert sure.endswith("1.1 fewer of 100 (very likely 0.8 to 1.4 fewer): it does not hold there in full.")


def test_nothing_helped_says_how_much_may_have_been_missed_and_what_to_measure_next():
    found = report(made.nothing_helped())
    assert found.answer == (
        "No: none of the 3 remedies makes the network surely better on unseen images; at most 0.3 more right "
        "answers of 100 may be gained."
    )
    answers = answers_of(made.nothing_helped())
    assert answers["Is that sure?"] == (
        "Yes, very likely: some harm, and any gain of the others is too small to matter. No range lies on the "
        'better side of 0 (no difference). The range of "shift" lies on the worse side, in right '
        'answers or in loss. The ranges of "dropout" and "label smoothing" lie around 0: the effect may be as good or '
        "as bad as the ends say, or none. The ranges are so wide that in 95 of 100 such studies all of them hold the "
        "true differences."
    )
    assert answers["What helped, and by how much?"].endswith('Surely worse: "shift".')
    assert answers["Were test images used to choose?"].endswith("Test images were not looked at at all.")
    assert answers["What should I do now?"].startswith("Keep the network as it is")
    assert [(one.file, one.body["kind"]) for one in found.commands] == [
        ("more_images.json", "learning_curve"),
        ("study.json", "remedies"),
    ]
    assert found.winning_spec is None


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        ({"seeds": 4, "images": None}, "4 more trainings of each network (seeds) would probably tell"),
        (
            {"seeds": 1, "images": 900},
            "only 1 more training of each network (seeds) together with about 900 more validation images would "
            "probably tell",
        ),
        (
            {"seeds": None, "images": 900},
            "more trainings would not help, but about 900 more validation images would probably tell",
        ),
        (
            {"seeds": None, "images": None},
            "to tell would take more trainings and validation images than is sensible",
        ),
    ],
)
def test_cannot_tell_says_what_would_tell(needs, told):
    found = report(made.cannot_tell(needs))
    assert found.answer == f"It cannot be told, because the differences are small beside what may be chance; {told}."
    answers = answers_of(made.cannot_tell(needs))
    assert answers["What would make it surer?"].lower() == f"{told}.".lower()
    has_way = needs["seeds"] is not None or needs["images"] is not None
    assert (told if has_way else "try others") in answers["What should I do now?"]
    more = [one.body["seeds"] for one in found.commands if one.file == "more_seeds.json"]
    assert more == ([3 + needs["seeds"]] if needs["seeds"] is not None and needs["images"] is None else [])


def test_remedies_that_all_harm_are_not_said_to_bring_anything():
    study = made.nothing_helped()
    harmed = study.model_copy(update={"arms": [study.arms[0], study.arms[3]]})
    assert report(harmed).answer == 'No: "shift" makes the network worse on unseen images.'
    answers = answers_of(harmed)
    assert answers["What helped, and by how much?"] == 'Nothing. Surely worse: "shift".'
    assert answers["What should I do now?"].startswith("Keep the network as it is: these remedies make it worse.")


def test_what_was_not_confirmed_is_no_answer():
    study = made.cure()
    conclusion = study.conclusion.model_copy(update={"kind": "cannot_tell", "remedy": None, "test": None})
    unconfirmed = study.model_copy(update={"arms": study.arms[:2], "conclusion": conclusion})
    assert report(unconfirmed).answer.startswith(
        'It cannot be told, because "dropout" looked better, but the trainings that were to confirm it did not; '
    )
    sure = answers_of(unconfirmed)["Is that sure?"]
    assert sure.startswith(
        'No: what was measured may be chance, so nothing is decided. The range of "dropout" lies on the better side of '
        "0 (no difference), but that was not confirm"
    )


def test_a_study_that_runs_says_so_before_anything_else():
    page = html(made.running())
    assert text_of(page.find("body/main/header")).startswith(
        ' Heldout: report of a study Does "dropout" make the network better on images that it has not seen? This study '
        "is still running: 2 of 6 trainings are done."
    )
    assert report(made.running()).answer == "It is not known yet: 2 of 6 trainings are done."


def test_a_study_without_an_answer_says_why():
    failed = made.running().model_copy(update={"status": "failed", "error": made.error("The base failed.")})
    assert report(failed).answer == "There is no answer, because the study failed: The base failed."
    cancelled = made.running().model_copy(update={"status": "cancelled"})
    assert report(cancelled).answer == "There is no answer, because the study was cancelled after 2 of 6 trainings."


def test_a_learning_curve_forecasts_only_what_it_can():
    study = made.learning_curve()
    assert report(study).answer == (
        "Yes, very likely: with 7,200 training images about 2.9% of unseen images would be answered wrongly (9 of 10 "
        "times, 2.4% to 3.5%), instead of 4.2% with 3,600."
    )
    wide = study.forecast.model_copy(update={"interval": (0.02, 0.05)})
    assert report(study.model_copy(update={"forecast": wide})).answer.startswith("That is not certain: with 7,200")
    without = study.model_copy(update={"forecast": None, "no_forecast": "The errors go up and down."})
    assert report(without).answer == "It cannot be forecast: The errors go up and down."


FIGURE = r"\d+(?:,\d{3})*(?:\.\d+)?"
KINDS = [made.cure, made.nothing_helped, made.cannot_tell, made.running, made.learning_curve]
# `95 of 100`, `9 of 10 times`, `of 100 images`, `0 would be perfect`, `the line at 0`, and how far rounding goes.
SAID_ANYWHERE = {"0", "0.1", "9", "10", "90", "95", "100"}


@pytest.mark.parametrize("study", KINDS)
def test_every_figure_of_the_page_is_in_the_json(study):
    found = report(study(), made.gaps())
    known = SAID_ANYWHERE | _written(found.model_dump(mode="json"))
    page = html(study(), made.gaps())
    said = re.findall(FIGURE, text_of(page.find("body")))
    assert len(said) > 20
    assert [one for one in said if one not in known] == []


def _written(value):
    """Every way in which a figure of the JSON may be written; texts count with the numbers in them."""
    if isinstance(value, dict):
        return set().union(*map(_written, [*value, *value.values()]))
    if isinstance(value, list):
        return {f"{len(value)}"}.union(*map(_written, value))
    if isinstance(value, str):
        return set(re.findall(FIGURE, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return set()
    size = abs(value)
    shares = {f"{100 * size:.{digits}f}" for digits in range(1, 4)}
    spans = {f"{size:.0f}", f"{size / 60:.0f}", f"{size / 3600:.1f}", f"{size:,.0f}" if size >= 1 else "0"}
    return shares | spans | {f"{size:.{digits}f}" for digits in range(3, 6)} | {f"{value}"}


def test_a_range_that_leaves_zero_out_is_never_written_as_if_it_held_it():
    study = made.cure()
    bounds = study.arms[1].difference.adjusted_intervals.model_copy(update={"accuracy": (0.0003, 0.0217)})
    difference = study.arms[1].difference.model_copy(update={"adjusted_intervals": bounds})
    arms = [study.arms[0], study.arms[1].model_copy(update={"difference": difference})]
    rows = html_tables(html(study.model_copy(update={"arms": arms})))[0][1]
    assert rows[1][:4] == ["dropout (chosen)", "+1.10", "+0.03 to +2.17", "surely better"]


def test_a_remedy_that_changed_nothing_is_said_to_give_the_same():
    study = made.cure()
    same = study.arms[2].difference.model_validate(made._difference(0.0, 0.0, 0.0, 0.0))
    arms = [*study.arms[:2], study.arms[2].model_copy(update={"difference": same})]
    [told] = [one.explanation for one in report(study.model_copy(update={"arms": arms})).arms[2:]]
    assert told == "As many of 100 unseen images are answered correctly; the loss is the same."
    patch = {"training": {"early_stopping": {}}}
    [change] = changes_of(study.spec, patch)
    assert change.startswith('training.early_stopping: null → {"monitor": "validation_loss"')
