"""Sentences about looks at held-out labels, and which looks count as selections."""

import pytest

from analysis.jobs.ledger import SplitReads, explain_reads

TEST_ADVICE = "The more often test results guide your choices, the better they look by chance."


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        (SplitReads(), "None of your jobs has looked at the 1,000 test labels yet, and you were not shown them."),
        (SplitReads(1, jobs=1), f"Your job has looked at the 1,000 test labels once. {TEST_ADVICE}"),
        (SplitReads(14, jobs=3), f"Your 3 jobs have looked at the 1,000 test labels 14 times. {TEST_ADVICE}"),
        (
            SplitReads(15, handed_out=1, jobs=3),
            "Your 3 jobs have looked at the 1,000 test labels 14 times. They were also shown to you once, in a preview "
            f"of the dataset. {TEST_ADVICE}",
        ),
        (
            SplitReads(2, handed_out=2),
            "None of your jobs has looked at the 1,000 test labels yet, but they were shown to you twice, in a preview "
            f"of the dataset. {TEST_ADVICE}",
        ),
    ],
)
def test_reads_of_test_in_words(counted, sentence):
    assert explain_reads("test", 1000, counted) == sentence


@pytest.mark.parametrize(
    ("counted", "sentence"),
    [
        (SplitReads(1, selections=1, jobs=1), "once; it could decide"),
        (SplitReads(4, selections=4, jobs=1), "4 times; each of these looks could decide"),
        (SplitReads(20, selections=12, jobs=2), "20 times; 12 of these looks could decide"),
        (SplitReads(20, selections=1, jobs=2), "20 times; 1 of these looks could decide"),
    ],
)
def test_selections_on_validation_in_words(counted, sentence):
    text = explain_reads("validation", 400, counted)
    assert sentence in text
    assert text.endswith("look a little better than they are, because the best of them were picked.")


def test_one_image_has_one_label():
    assert "the 1 test label once" in explain_reads("test", 1, SplitReads(1, jobs=1))
