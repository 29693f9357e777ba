"""No medium loses a part of a document: its words are in the terminal, in Markdown, in HTML and in notebooks."""

import re
from collections import Counter
from dataclasses import fields, is_dataclass
from typing import get_args
from xml.etree import ElementTree

import pytest

from analysis.reports.contents import build_document
from heldout.documents import blocks as of
from heldout.documents.audit import lay_out_audit
from heldout.documents.blocks import Document
from heldout.documents.dataset import lay_out_dataset
from heldout.documents.evaluation import lay_out_evaluation
from heldout.documents.html import render_notebook, render_page
from heldout.documents.job import lay_out_job
from heldout.documents.markdown import render_markdown
from heldout.documents.model import lay_out_model
from heldout.documents.strips import Axis, Mark, Strip
from heldout.documents.study import build_study
from heldout.documents.terminal import render_terminal
from heldout.views.audit import AuditView
from heldout.views.dataset import DatasetView
from heldout.views.model import EvaluationView, ModelView
from tests.analysis.reports import made_studies
from tests.analysis.reports.reading import report
from tests.heldout import made_views as made

# The fields that people read. What else a block has says how it is shown, or is for pages alone.
READ = {
    of.Heading: ("text", "about"),
    of.Paragraph: ("text",),
    of.Epochs: ("text",),
    of.Fact: ("name", "text", "note"),
    of.Facts: ("facts",),
    of.Action: ("label", "command", "note"),
    of.Items: ("title", "items"),
    of.Table: ("caption", "headings", "rows", "note"),
    of.Figure: ("charts",),
    of.Image: ("place",),
    of.ImageGroup: ("images",),
    of.Images: ("groups",),
    of.Listing: ("caption", "code"),
    of.Panel: ("title",),
    of.Panels: ("hint", "panels"),
    of.Details: ("blocks",),
}
ITEM = of.Item("Dropout", "It memorized.", code="drop", action=of.Action("Measure", "heldout cure J", "/cure"))
AXIS = Axis("points", [(0.0, "0"), (50.0, "50"), (100.0, "100")])
STRIP = Strip([Mark("dot", 9.0, 9.0, "train")], "3 points")
ALL_KINDS = Document(
    "Everything",
    [
        of.Heading("Overfitting", code="overfitting_code", marks=["sure"]),
        of.Paragraph("The network memorized its images.", "sentence"),
        of.Paragraph("The ring is training.", "picture"),
        of.Epochs("Epoch 3 was the best.", 3, None),
        of.Facts([of.Fact("Accuracy", "93.5%", "of 400 images")]),
        of.Action("Fix it", "heldout datasets fix pets", "/datasets/1", note="Takes a minute."),
        of.Items([ITEM], "Remedies", is_ordered=True),
        of.Figure("Gap", [of.Table("By accuracy", ("term", AXIS), [("copies", STRIP)])]),
        of.Table("Splits", ("split", "accuracy"), [("train", "99%")], note="Of kept weights."),
        of.Images([of.ImageGroup([of.Image("/1", "cat 3"), of.Image("/2", "dog 4")])]),
        of.Listing("Train it", "heldout train spec.json", "sh"),
        of.Panels([of.Panel("Trainings", ["<svg/>"])], "A line is a mean."),
        of.Details([of.Paragraph("Folded evidence.")]),
    ],
)


def lay_out_all():
    """Yield a document of each subject, with the kinds of its blocks as they follow each other."""
    splits = {split: {"count": 1, "per_class": [1, 0]} for split in ("train", "validation", "test")}
    dataset = {"id": "ds_1", "name": "pets", "version": 1}
    diagnosis = made.diagnosis("overfitting", explanation="It rose.", remedies=[("dropout", {"network": {}})])
    none = dict.fromkeys(("dtype", "range", "classes", "sha256", "size_bytes", "error", "started_at", "finished_at"))
    finding = {"code": "leakage", "severity": "critical", "numbers": {}, "explanation": "Five are copies."}
    finding |= {"what_to_do": "Remove them.", "examples": [], "pairs": [], "fix": {"drop_copies": True}}
    about = {"dataset": dataset, "sha256": "a", "splits": splits, "statistics": {}, "checks": {}, "source": {}}
    audit = AuditView.model_validate({"object": "audit", "findings": [finding], **about})
    view = dataset | none | {"object": "dataset", "status": "ready", "splits": splits, "shape": (8, 8, 1)}
    view |= {"bundled": False, "created_at": made.CREATED, "description": "Cats and dogs"}
    names = "input_shape output_shape gives classes parameters trainable_parameters license source made_by error notes"
    model = {
        "id": "m",
        "name": "mine",
        "object": "model",
        "status": "ready",
        "format": "keras",
        **dict.fromkeys(names.split()),
    }
    model |= {"weights": True, "shared": False, "size_bytes": 9, "sha256": "a", "created_at": made.CREATED}
    model |= {"layers": [{"name": "dense1", "type": "Dense", "weights": [[3, 4]]}]}
    evaluation = none | {
        "id": "evl",
        "object": "evaluation",
        "status": "succeeded",
        "model": {"id": "m", "name": "mine"},
    }
    evaluation |= {"dataset": dataset, "headline": "It is right.", "summary": "Fix copies.", "as_given": None}
    evaluation |= {"metrics": made.final(*(made.split(right, 10) for right in (10, 9, 8))).model_dump()}
    evaluation |= {"preprocessing": None, "attempt": 1, "version": 1, "created_at": made.CREATED}
    yield "job", lay_out_job(made.job(), diagnosis)
    yield "study", Document("Study", build_study(made.study()))
    yield "report", build_document(report(made_studies.cure(), made_studies.gaps()))
    yield "learning curve", build_document(report(made_studies.learning_curve()))
    yield "dataset", lay_out_dataset(DatasetView.model_validate(view))
    yield "audit", lay_out_audit(audit)
    yield "model", lay_out_model(ModelView.model_validate(model))
    yield "evaluation", lay_out_evaluation(EvaluationView.model_validate(evaluation), diagnosis)


DOCUMENTS = {"all kinds": ALL_KINDS, **dict(lay_out_all())}


def read_page(text):
    return " ".join(ElementTree.fromstring(text).itertext())


MEDIA = {
    "terminal": lambda document: "\n".join(render_terminal(document.blocks)),
    "markdown": lambda document: render_markdown(document).replace("\\", ""),
    "html": lambda document: read_page(render_page(document)),
    "notebook": lambda document: read_page(render_notebook(document.blocks)),
}


def words_of(block, has_pictures, has_remarks):
    """Count the words of a block by its own fields, knowing no renderer."""
    match block:
        case str():
            return Counter(re.findall(r"\w+", block.lower()))
        case of.Paragraph(tone="picture") | of.Panels() | Strip() | Axis() if not has_pictures:
            return Counter()
        case Strip() | Axis():
            return words_of(block.name if isinstance(block, Axis) else block.text, has_pictures, has_remarks)
        case of.Table() if not has_remarks and block.remarks:
            shown = [place for place in range(len(block.headings)) if place not in block.remarks]
            rows = [[row[place] for place in shown] for row in (block.headings, *block.rows)]
            return words_of([block.caption, block.note, *rows], has_pictures, has_remarks)
        case of.Item():  # what its button says besides is a tooltip of pages
            parts = [block.title, block.text, block.action and block.action.line]
        case _ if is_dataclass(block):
            parts = [getattr(block, name) for name in READ[type(block)]]
        case None:
            parts = []
        case _:
            parts = block
    return sum((words_of(part, has_pictures, has_remarks) for part in parts), Counter())


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("subject", DOCUMENTS)
def test_no_medium_loses_a_word_of_a_document(subject, medium):
    document, is_page = DOCUMENTS[subject], medium in {"html", "notebook"}
    expected = words_of(document.blocks, is_page, medium != "terminal")
    shown = Counter(re.findall(r"\w+", MEDIA[medium](document).lower()))
    assert sum(expected.values()) > 10
    assert expected - shown == Counter()


def test_the_sample_has_every_kind_of_block():
    assert {type(block) for block in ALL_KINDS.blocks} == set(get_args(of.Block))
    assert all({*names} <= {*dir(kind), *(field.name for field in fields(kind))} for kind, names in READ.items())


def test_each_subject_has_its_blocks_in_this_order():
    kinds = {name: " ".join(block.kind for block in document.blocks) for name, document in lay_out_all()}
    assert kinds == {
        "job": "facts heading paragraph details",
        "study": "facts heading action action items heading paragraph figure paragraph items",
        "report": "facts heading action action items heading paragraph figure paragraph heading paragraph table "
        "heading paragraph paragraph table heading paragraph table table heading panels table heading paragraph "
        "table heading paragraph paragraph heading paragraph listing listing listing heading facts",
        "learning curve": "facts heading items heading figure heading paragraph paragraph heading listing "
        "heading facts",
        "dataset": "facts",
        "audit": "heading heading paragraph paragraph action",
        "model": "facts heading table",
        "evaluation": "facts heading paragraph table heading details",
    }
