"""The contents of a report for each kind of conclusion; all its figures are in its JSON."""

import re
from xml.etree import ElementTree

import pytest

from analysis.reports.changes import describe_changes
from analysis.reports.contents import build_document, name_field_change
from analysis.reports.key_figures import list_study_figures, sum_confusions
from heldout.documents.html import render_page
from tests.analysis.reports import made_studies as made
from tests.analysis.reports.reading import html, html_tables, report, text_of


def test_a_report_names_the_winner_its_spec_and_what_each_remedy_changed():
    found = report(made.cure())
    assert {arm.name: arm.effect for arm in found.arms} == {
        "base": None,
        "dropout": "better",
        "label_smoothing": "may_be_chance",
        "shift": "better",
        "horizontal_flip": "worse",
    }
    assert found.winning_spec.network.blocks[2].dropout == 0.25
    assert found.arms[1].changes == ["network.blocks[all].dropout: 0 → 0.25"]
    assert name_field_change(found.arms[1].changes[0]) == "Dropout of all blocks: 0 → 0.25"
    assert name_field_change('training.class_weights: null → "balanced"') == "Class weights: none → balanced"
    rotated = name_field_change('augmentation: null → {"rotation_degrees": 10.0, "mixup": null}')
    assert rotated == "Change training images at random: none → rotation degrees: 10.0, mixup: none"
    assert name_field_change("width: 2") == "width: 2", "the parameter of a script keeps its name"


def test_a_report_begins_with_the_figures_of_base_and_winner():
    study = made.cure()
    unchanged, chosen = list_study_figures(study, ("cat", "dog"), {"base": sum_confusions([((9, 1), (2, 8))] * 2)})
    found = report(study).model_copy(update={"figures": [unchanged, chosen]})
    page = ElementTree.fromstring(render_page(build_document(found)))
    _, [headings, *rows] = html_tables(page)[0]
    assert headings[1:] == ["training accuracy", "validation accuracy", "test accuracy", "gap", "weakest class"]
    test = study.conclusion.test
    for row, arm, tested in zip(rows, (study.arms[0], study.winner), (test.base, test.winner), strict=True):
        accuracies = [figures.accuracy for figures in (arm.train, arm.validation, tested)]
        assert row[1:4] == [f"{accuracy:.1%}" for accuracy in accuracies]
        assert row[4] == f"{100 * (accuracies[0] - accuracies[2]):.1f} points from training to test"
    assert (rows[0][5], rows[1][5]) == ('"dog" with 16 of 20 validation images right', "–")


def test_if_nothing_helped_the_request_for_more_images_comes_first():
    found = report(made.nothing_helped())
    assert [(command.file, command.body["kind"]) for command in found.commands] == [
        ("more_images.json", "learning_curve"),
        ("study.json", "remedies"),
    ]
    assert found.winning_spec is None


@pytest.mark.parametrize(("seeds", "images"), [(4, None), (1, 900), (None, 900), (None, None)])
def test_more_seeds_can_be_requested_if_they_alone_would_decide(seeds, images):
    found = report(made.cannot_tell({"seeds": seeds, "images": images}))
    more = [command.body["seeds"] for command in found.commands if command.file == "more_seeds.json"]
    assert more == ([3 + seeds] if seeds is not None and images is None else [])


@pytest.mark.parametrize(("data", "option"), [("fix", " --fix"), ("as_they_are", " --anyway")])
def test_the_next_study_of_a_job_with_faulty_data_says_again_what_to_do_about_them(data, option):
    of_job = {"job": "job_1", "data": data}
    for study in (made.nothing_helped(), made.cannot_tell({"seeds": 4, "images": None})):
        following, again = report(study.model_copy(update=of_job)).commands
        assert {name: following.body.get(name) for name in of_job} == of_job
        assert "data" not in again.body  # it names the fixed version
        assert {command.cli.endswith(option) for command in (following, again) if command.cli} == {True}


def test_a_running_or_failed_study_says_so_first():
    page = html(made.running())
    said, _, answer = text_of(page.find("body/main")).partition("The study is still running.")
    assert said.strip().startswith('Does "dropout" make the network better on images it has not seen?')
    assert "This study is still running: 2 of 6 trainings are done." in said
    assert answer
    failed = made.running().model_copy(update={"status": "failed", "error": made.error("The base failed.")})
    assert "The base failed." in text_of(html(failed).find("body/main")).partition("What helped")[0]


def test_a_cancelled_study_says_that_nothing_was_compared_and_not_that_all_ran_to_the_end():
    page = text_of(html(made.running().model_copy(update={"status": "cancelled"})))
    assert "Nothing has been compared." in page
    assert "2 of 6 trainings are done. " in page.partition("What did each remedy change")[2]
    assert "trained to the end" not in page
    assert "All remedies were trained to the end." in text_of(html(made.cannot_tell()))


FIGURE = r"\d+(?:,\d{3})*(?:\.\d+)?"
KINDS = [made.cure, made.nothing_helped, made.cannot_tell, made.running, made.learning_curve]
# `95 of 100`, `90 of 100`, `the line at 0`, `A point is 1%`.
SAID_ANYWHERE = {"0", "1", "90", "95", "100"}


@pytest.mark.parametrize("study", KINDS)
def test_every_figure_of_the_page_is_in_the_json(study):
    found = report(study(), made.gaps())
    known = SAID_ANYWHERE | _written(found.model_dump(mode="json")) | _written(_list_bases(found.study.arms))
    page = html(study(), made.gaps())
    printed = re.findall(FIGURE, text_of(page.find("body")))
    assert len(printed) > 20
    assert [figure for figure in printed if figure not in known] == []


def _list_bases(arms):
    """The means of the base on the seeds of each arm."""
    compared = [(arm.validation, arm.difference) for arm in arms if arm.difference is not None]
    return [
        getattr(figures, measure) - getattr(difference, measure)
        for figures, difference in compared
        for measure in ("accuracy", "loss")
    ]


def _written(value):
    """Collect every notation of the JSON's figures, including the numbers in its texts."""
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


def test_a_range_that_excludes_zero_is_never_rounded_to_include_it():
    study = made.cure()
    bounds = study.arms[1].difference.adjusted_intervals.model_copy(update={"accuracy": (0.0003, 0.0217)})
    difference = study.arms[1].difference.model_copy(update={"adjusted_intervals": bounds})
    arms = [study.arms[0], study.arms[1].model_copy(update={"difference": difference})]
    rows = html_tables(html(study.model_copy(update={"arms": arms})))[0][1]
    assert rows[2][:4] == ["dropout (chosen)", "+1.10", "+0.03 to +2.17", "clearly better"]


def test_a_remedy_without_effect_is_reported_as_the_same():
    study = made.cure()
    same = study.arms[2].difference.model_validate(made.difference_of(0.0, 0.0, 0.0, 0.0))
    arms = [*study.arms[:2], study.arms[2].model_copy(update={"difference": same})]
    [explanation] = [arm.explanation for arm in report(study.model_copy(update={"arms": arms})).arms[2:]]
    assert explanation == "Accuracy stays the same; loss stays the same."
    patch = {"training": {"early_stopping": {}}}
    [change] = describe_changes(study.spec, patch)
    assert change.startswith('training.early_stopping: null → {"monitor": null')
