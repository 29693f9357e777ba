"""Every recorded training has a short, plain headline, and the page shows 80 texts of all verdicts."""

import re
from statistics import mean

import pytest

from benchmarks.verdict_texts import COUNT, PAGE, Text, all_texts, choose, grade_of, page_of
from heldout.verdicts import FAULTS
from heldout.words.labels import VERDICT_NAMES
from tests.reading import assert_short

HIGHEST_GRADE = 9


def assert_easy_to_read(texts: list[Text]) -> None:
    """Check `COUNT` texts: they cover all verdicts, are short, and have a low reading grade on average."""
    assert (len(texts), {text.verdict for text in texts}) == (COUNT, VERDICT_NAMES.keys() - FAULTS.keys())
    for text in texts:
        assert_short(text.headline, text.summary)
    for layer in ("headline", "summary"):
        assert mean(grade_of(getattr(text, layer)) for text in texts) <= HIGHEST_GRADE


@pytest.mark.proof
def test_the_texts_of_all_recorded_trainings_are_short_and_a_choice_is_easy_to_read():
    texts = list(all_texts())
    for text in set(texts):
        assert_short(text.headline, text.summary)
    chosen = choose(texts)
    assert_easy_to_read(chosen)
    # Rules may change which trainings are on the page, but not its layout.
    assert PAGE.read_text(encoding="utf-8").splitlines()[:2] == page_of(chosen).splitlines()[:2]


def test_the_texts_on_the_page_cover_all_verdicts_and_are_easy_to_read():
    names = {name: verdict for verdict, name in VERDICT_NAMES.items()}
    rows = [re.split(r" (?<!\\)\| ", row) for row in re.findall(r"^\| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)]
    assert rows[0] == ["verdict", "headline", "summary", "grade"]
    assert_easy_to_read([Text(names[name], headline, summary) for name, headline, summary, _ in rows[1:]])


@pytest.mark.parametrize(
    ("text", "words", "sentences", "syllables"),
    [
        ("The cat sat on the mat.", 6, 1, 6),
        ("Regularization improves generalization considerably.", 4, 1, 6 + 2 + 6 + 5),
        ("It measured 1,200 images. The table looked small.", 8, 2, 1 + 2 + 1 + 3 + 1 + 2 + 1 + 1),
    ],
)
def test_the_grade_follows_the_formula(text, words, sentences, syllables):
    assert grade_of(text) == pytest.approx(0.39 * words / sentences + 11.8 * syllables / words - 15.59)
