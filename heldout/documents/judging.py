"""The answer of a judge as blocks: for a terminal, a pull request and an assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.arms import build_comparison
from heldout.documents.blocks import Block, Document, Fact, Facts, Heading, Paragraph, keep_known, strip_code
from heldout.judging import find_needs
from heldout.words.judging import explain_answer, say_headline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heldout.views.study import StudyView
    from heldout.views.study_figures import JudgeAnswer


def build_judgement(study: StudyView, answer: JudgeAnswer, margin: float, compared: Mapping[str, str]) -> list[Block]:
    """Lay out the answer first, then what was compared, and the figures.

    Args:
        compared: what the base and the candidate are, such as two commits.
    """
    facts = [
        Fact("Answer", answer.replace("_", " ")),
        *(Fact(name.capitalize(), strip_code(what)) for name, what in compared.items()),
        Fact("Study", study.id),
    ]
    return [
        Heading(say_headline(answer, margin)),
        Paragraph(explain_answer(study, answer, find_needs(study, margin)), "sentence"),
        Facts(keep_known(*facts)),
        *build_comparison(study)[1:],
    ]


def build_judgement_page(study: StudyView, answer: JudgeAnswer, margin: float, compared: Mapping[str, str]) -> Document:
    """The same as a text that stands alone, such as a comment on a pull request."""
    headline, *blocks = build_judgement(study, answer, margin, compared)
    assert isinstance(headline, Heading)
    return Document(f"Heldout: {headline.text}", blocks)
