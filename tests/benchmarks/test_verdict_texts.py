"""The headline of every kept training is short and plain, and the page shows 80 texts of all verdicts."""

from statistics import mean

import pytest

from benchmarks.verdict_texts import COUNT, PAGE, Text, all_texts, choose, grade_of, page_of
from heldout.words.labels import VERDICT_NAMES
from tests.reading import assert_short

HIGHEST_GRADE = 9


@pytest.fixture(scope="module")
def said() -> list[Text]:
    return list(all_texts())


def test_every_text_of_every_verdict_is_short(said):
    assert {text.verdict for text in said} == set(VERDICT_NAMES)
    for text in set(said):
        assert_short(text.headline, text.summary)


def test_eighty_texts_read_easily_and_the_page_is_made_of_such(said):
    chosen = choose(said)
    assert (len(chosen), {text.verdict for text in chosen}) == (COUNT, set(VERDICT_NAMES))
    for layer in ("headline", "summary"):
        assert mean(grade_of(getattr(text, layer)) for text in chosen) <= HIGHEST_GRADE
    page = PAGE.read_text(encoding="utf-8")
    assert page.count("\n| ") == COUNT + 1
    # Rules may change which trainings are on it; how it is laid out may not.
    assert page.splitlines()[:2] == page_of(chosen).splitlines()[:2]
    for name in VERDICT_NAMES.values():
        assert f"\n| {name} |" in page


@pytest.mark.parametrize(
    ("text", "words", "sentences", "syllables"),
    [
        ("The cat sat on the mat.", 6, 1, 6),
        ("Regularization improves generalization considerably.", 4, 1, 6 + 2 + 6 + 5),
        ("It measured 1,200 images. The table looked small.", 8, 2, 1 + 2 + 1 + 3 + 1 + 2 + 1 + 1),
    ],
)
def test_the_grade_is_that_of_the_formula(text, words, sentences, syllables):
    assert grade_of(text) == pytest.approx(0.39 * words / sentences + 11.8 * syllables / words - 15.59)
