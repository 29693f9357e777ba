"""The table of the search for wrong labels in the zoo has the figures of the planted labels."""

import numpy as np
import pytest

from benchmarks.zoo import draw
from benchmarks.zoo.draw import Sealed
from benchmarks.zoo.suspects import HEAD, Searched, row_of, search


def make_search(share: float, sure: float) -> Searched:
    """Make a search whose networks give the true class of each of 2,000 images the probability `sure`."""
    draws = np.random.default_rng(0)
    true = draws.integers(0, 5, 2000).astype(np.int32)
    given = true.copy()
    given[: round(share * 2000)] = (given[: round(share * 2000)] + 2) % 5
    probabilities = np.full((2000, 5), (1 - sure) / 4) + draws.uniform(0, 1e-3, (2000, 5))
    probabilities[np.arange(2000), true] = sure
    return Searched("made", "random", share, probabilities, given, true, {"train": np.arange(2000)})


def test_a_row_compares_the_search_with_the_truth():
    cells = [cell.strip() for cell in row_of(make_search(0.1, 0.95)).split("|")]
    assert cells[1:5] == ["made", "10% random", "2,000", "90%"]
    assert cells[7:] == ["200", "200 of 200", cells[9], "100%", ""]
    count = int(cells[6].partition(" ")[0].replace(",", ""))
    assert count == pytest.approx(200, rel=0.1)
    assert len(row_of(make_search(0.1, 0.95)).split("|")) == len(HEAD[0].split("|"))


def test_a_set_that_is_too_hard_has_no_figures():
    guessing = make_search(0.1, 0.2)
    assert "| too hard | 200 |" in row_of(guessing)
    assert len(row_of(guessing).split("|")) == len(HEAD[0].split("|"))


def test_sealed_sets_cannot_be_searched():
    with pytest.raises(Sealed):
        search(draw.sealed_sets()[0], "clean", 0.0, 100, unseal=False)
