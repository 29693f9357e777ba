"""Pictures of studies and confusion matrices, in SVG and in characters."""

import xml.etree.ElementTree as ET

import pytest

from heldout.documents.arms import build_evidence
from heldout.documents.picture import draw_figure
from heldout.pictures.confusion import NotMeasured, draw_confusion
from heldout.views.results import ConfusionView
from tests.heldout.made_views import arm, study

SVG = "{http://www.w3.org/2000/svg}"


def confusion(counts, classes, **splits):
    scores = {"confusion": counts, "per_class": [], "calibration_error": 0.1, "mistakes": []}
    return ConfusionView.model_validate(
        {"object": "confusion", "classes": classes, "splits": splits or {"test": scores, "train": scores}}
    )


def draw(study):
    return draw_figure(study.name, build_evidence(study), "Nothing yet.")


def test_improvements_are_right_of_0_for_accuracy_and_loss():
    arms = [arm("base"), arm("<script>", 0.05, -0.2), arm("flip", -0.1, 0.3, status="dropped"), arm("new")]
    picture = draw(study(arms=arms))
    rows = [line for line in picture.text.splitlines() if "o" in line[80:] and "|" in line]
    assert [row.split()[0] for row in rows] == ["<script>", "flip", "<script>", "flip"]
    assert [row.rindex("o") > row.index("|") for row in rows] == [True, False, True, False]
    drawn = ET.fromstring(picture.svg)
    strips = [strip for strip in drawn.iter(f"{SVG}svg") if strip.findall(f"{SVG}circle")]
    zeros = [float(strip.find(f"{SVG}line[@class='zero']").get("x1").rstrip("%")) for strip in strips]
    dots = [float(strip.find(f"{SVG}circle").get("cx").rstrip("%")) for strip in strips]
    assert [dot > zero for dot, zero in zip(dots, zeros, strict=True)] == [True, False, True, False]
    assert {"+5.0 (+3.0 to +7.0)", "−0.200 (−0.300 to −0.100)"} <= set(drawn.itertext())


def test_a_study_without_a_comparison_yet_says_so():
    picture = draw(study(arms=[arm("base", validation=None)], conclusion=None))
    assert "Nothing yet." in picture.text
    ET.fromstring(picture.svg)


def test_a_learning_curve_shows_all_sizes_and_the_forecast_on_one_scale():
    errors = {100: 0.3, 200: 0.2, 400: 0.15}
    sizes = [
        {"images": images, "error": error, "interval": (error - 0.02, error + 0.02)} for images, error in errors.items()
    ]
    forecast = {"images": 800, "error": 0.12, "interval": (0.08, 0.16), "method": "power_law"}
    picture = draw(study(kind="learning_curve", arms=[], conclusion=None, sizes=sizes, forecast=forecast))
    lines = picture.text.splitlines()[4:-1]
    assert [line.split()[0] for line in lines] == ["100", "200", "400", "800"]
    places = [line.rindex("o") for line in lines]
    assert places == sorted(places, reverse=True)
    assert "forecast" in lines[-1]


def test_a_confusion_matrix_has_every_count_in_its_cell():
    counts = [[48, 2, 0], [1, 50, 0], [0, 7, 43]]
    picture = draw_confusion(confusion(counts, ["cat", "dog", "<b>"]), "pets")
    assert picture.title == "pets: 141 of 151 test images answered correctly"
    rows = [line.split() for line in picture.text.splitlines()[-3:]]
    assert rows == [["cat", "48", "2", "·"], ["dog", "1", "50", "·"], ["<b>", "·", "7", "43"]]
    titles = [title.text for title in ET.fromstring(picture.svg).iter(f"{SVG}title")]
    assert "<b> answered as dog: 7 of 50" in titles


def test_for_many_classes_the_most_frequent_mistakes_are_listed():
    many = 40
    counts = [[50 if row == column else 0 for column in range(many)] for row in range(many)]
    counts[7][9], counts[3][4] = 12, 5
    picture = draw_confusion(confusion(counts, [f"class {n}" for n in range(many)]), "pets")
    mistakes = [line.strip() for line in picture.text.splitlines()[2:]]
    assert mistakes == ["12  class 7 answered as class 9", "5  class 3 answered as class 4"]
    ET.fromstring(picture.svg)


def test_a_split_that_was_not_measured_has_no_matrix():
    with pytest.raises(NotMeasured, match="not measured on its validation images, only on test and train"):
        draw_confusion(confusion([[1]], ["cat"]), "pets", "validation")
