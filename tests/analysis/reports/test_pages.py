"""Report pages are complete, self-contained, safe from hostile names, and the same in HTML and Markdown."""

import json
import re
import subprocess

import pytest

from analysis.reports.changes import render_script
from analysis.reports.contents import build_document
from heldout.documents.markdown import render_markdown
from heldout.remedies import resolve
from heldout.spec.job import JobSpec
from heldout.studies.spec import StudySpec
from tests.analysis.reports import made_studies as made
from tests.analysis.reports.reading import (
    find_outside_html,
    html,
    html_tables,
    markdown,
    markdown_tables,
    report,
    text_of,
)

KINDS = [made.cure, made.nothing_helped, made.cannot_tell, made.running, made.learning_curve]


@pytest.mark.parametrize("study", KINDS)
def test_a_page_loads_nothing_from_elsewhere(study):
    page = html(study(), made.gaps())
    elements = list(page.iter())
    assert {element.tag for element in elements}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "image", "use", "a"}
    )
    attributes = {name for element in elements for name in element.attrib}
    assert not {name for name in attributes if name in {"src", "href", "style"} or name.startswith("on")}
    style = page.find("head/style").text
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    assert page.get("lang") == "en"
    assert "`" not in text_of(page.find("body"))  # code is shown as code


@pytest.mark.parametrize("study", KINDS)
def test_every_picture_has_a_text_or_is_only_an_axis(study):
    pictures = [picture for picture in html(study()).iter("svg") if picture.get("class") in {"strip", "chart"}]
    named = [picture for picture in pictures if picture.get("role") == "img"]
    assert all(picture.get("aria-label") == picture.find("title").text for picture in named)
    assert all(picture.get("aria-hidden") == "true" for picture in pictures if picture not in named)
    assert named or study is made.running


@pytest.mark.parametrize("study", KINDS)
def test_markdown_has_the_same_tables_as_the_page(study):
    page, text = html_tables(html(study(), made.gaps())), markdown_tables(markdown(study(), made.gaps()))
    assert page
    assert text == [rows for _, rows in page]


def test_a_bar_lies_at_its_figures():
    table = next(html(made.cure()).iter("table"))
    for row in table.findall("tbody/tr")[1:]:
        lines = list(row.iter("line"))
        zero = _percent(next(line for line in lines if line.get("class") == "zero").get("x1"))
        bar = next(line for line in lines if line.get("class").startswith("range"))
        low, high = _percent(bar.get("x1")), _percent(bar.get("x2"))
        dot = _percent(row.find(".//circle").get("cx"))
        verdict = row.findall("td")[3].text
        place = "clearly better" if low > zero else "clearly worse" if high < zero else "may be chance"
        assert place == verdict
        assert dot == pytest.approx((low + high) / 2, abs=0.02)
        assert 0 < low < high < 100


def test_names_are_never_markup():
    hostile = "</title><script>alert(1)</script>`x` **b** [a](http://b.example) | <img src=x onerror=y>\u202e\nend"
    study = made.cure()
    benign = study.model_copy(update={"name": "name"})
    changed = study.model_copy(
        update={
            "name": hostile,
            "dataset": study.dataset.model_copy(update={"name": hostile}),
            "arms": [*study.arms[:4], study.arms[4].model_copy(update={"why": hostile.replace("`", "")})],
        }
    )
    assert [element.tag for element in html(changed).iter()] == [element.tag for element in html(benign).iter()]
    tokens = [(token.type, [part.type for part in token.children or []]) for token in markdown(changed)]
    assert tokens == [(token.type, [part.type for part in token.children or []]) for token in markdown(benign)]
    text = "".join(html(changed).itertext())
    assert "\u202e" not in text
    assert "\\u202e\\nend" in text


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "`<script>` | `a\\\\|<img src=x onerror=y>`",
    "``<svg onload=y>``` [a](javascript:y) ![b](http://b.example)",
    "\\<iframe src=y>\\`<b>\\|<i>",
    "&lt;u&gt; &#60;u&#62; <!-- <s> http://b.example <http://b.example>",
    "a\n```\n<script>alert(1)</script>\n\n<details>",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_html_in_names_is_text_for_every_reader_of_markdown(name):
    study = made.cure()
    arms = [arm.model_copy(update={"name": name, "why": name, "patch": {name: name}}) for arm in study.arms[1:4]]
    shown = study.model_copy(
        update={
            "name": name,
            "dataset": study.dataset.model_copy(update={"name": name}),
            "arms": [study.arms[0], *arms, *study.arms[4:]],
            "spec": study.spec.model_copy(update={"name": name, "metadata": {"note": name}}),
            "headline": name,
        }
    )
    text = render_markdown(build_document(report(shown)))
    assert find_outside_html(text) == set()
    assert not re.search("<[a-z!]", text), "for readers that know neither fences nor escapes"


@pytest.mark.parametrize("study", [made.cure, made.nothing_helped, made.cannot_tell])
def test_the_commands_write_bodies_that_the_service_accepts(study, tmp_path):
    spec = study().spec.model_copy(update={"name": "'END'\nEND\n$(touch pwned) `touch pwned`"})
    for command in report(study().model_copy(update={"spec": spec})).commands:
        stubs = 'curl() { echo "curl $*"; }; heldout() { echo "heldout $*"; };'
        script = f"HELDOUT_URL=http://x HELDOUT_API_KEY=k; {stubs}\n{render_script(command)}"
        ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
        if command.file is None:
            assert ran.stdout.splitlines()[0] == "heldout model job_01k9refit --output model.keras"
            continue
        body = json.loads((tmp_path / command.file).read_text(encoding="ascii"))
        assert body == command.body
        assert (JobSpec if command.file == "winner.json" else StudySpec).model_validate(body)
        assert f"--json @{command.file}" in ran.stdout
    assert not (tmp_path / "pwned").exists()


def test_the_repeat_command_requests_the_same_arms():
    study = made.cure()
    own = study.arms[2].model_copy(update={"patch": {"training": {"label_smoothing": 0.2}}})
    for arms, by_name in ((study.arms, True), ([*study.arms[:2], own, *study.arms[3:]], False)):
        *_, again = report(study.model_copy(update={"arms": arms})).commands
        body = StudySpec.model_validate(again.body)
        resolved = resolve(body.remedies, body.spec)
        assert [(remedy.name, remedy.patch) for remedy in resolved] == [(arm.name, arm.patch) for arm in arms[1:]]
        assert again.cli == (
            "heldout cure job_01k8 --remedies dropout,label_smoothing,shift,horizontal_flip --seeds 3 --splits "
            "resampled --budget-jobs 60"
            if by_name
            else None
        )


def _percent(place):
    return float(place.removesuffix("%"))


def test_an_extreme_remedy_leaves_room_for_the_others_in_the_picture():
    study = made.cure()
    wild = study.arms[4].model_copy(
        update={"difference": study.arms[4].difference.model_validate(made.difference_of(-0.7, 0.2, 60.0, 50.0))}
    )
    page = html(study.model_copy(update={"arms": [*study.arms[:4], wild]}))
    for table in list(page.iter("table"))[:2]:
        rows = table.findall("tbody/tr")
        bars = [row.find(".//line[@class='range better']") for row in rows]
        lengths = [abs(float(bar.get("x1")[:-1]) - float(bar.get("x2")[:-1])) for bar in bars if bar is not None]
        assert min(lengths) > 8
        assert any("◀" in (text.text or "") for text in rows[-1].iter("text"))
