"""The labelled collection of trainings: what is kept of it is what training gives again, and its rules hold."""

from collections import Counter
from itertools import combinations

import pytest

from benchmarks.diagnosis import guard, score
from benchmarks.diagnosis.conditions import DRAWS, all_conditions
from benchmarks.diagnosis.record import Record, read_all
from benchmarks.diagnosis.trained import train
from benchmarks.diagnosis.truth import truths

AGAIN = 5
# Other processors add in other orders. First weights that are changed by a millionth move these losses by 0.0001 at
# most; other layers, another optimizer or another split move them by hundredths.
TOLERANCE = 0.002
# An accuracy moves by whole images: two of the training images, or of validation's 150, may be answered otherwise.
ANSWERS, VALIDATION = 2.5, 150


@pytest.fixture(scope="module")
def kept() -> dict[str, Record]:
    return {record.drawn.key: record for record in read_all()}


def cheapest(kept: dict[str, Record]) -> list[Record]:
    """Small images, few of them, few epochs; rates that are too high magnify the last bits."""
    small = [one for one in kept.values() if one.drawn.dataset == "digits" and one.drawn.regime != "hot"]
    return sorted(small, key=lambda one: (one.drawn.images * one.drawn.epochs, one.drawn.key))[:AGAIN]


def test_five_trainings_give_again_what_is_kept_of_them(kept):
    again = {record.drawn.key: train(record.drawn) for record in cheapest(kept)}
    for key, found in again.items():
        record = kept[key]
        for name, values in record.history.items():
            answers = ANSWERS / min(record.drawn.images, VALIDATION)
            tolerance = answers if name.endswith("accuracy") else TOLERANCE
            assert found.history[name] == pytest.approx(values, abs=tolerance), (key, name)
        assert found.referee["loss"] == pytest.approx(record.referee["loss"], abs=TOLERANCE), key
        assert found.diagnosis().verdict == record.diagnosis().verdict
        assert [one["code"] for one in found.audit] == [one["code"] for one in record.audit]
    labels = truths(kept.values())
    assert {key: truths((kept | again).values())[key] for key in again} == {key: labels[key] for key in again}


def test_a_condition_is_kept_once_and_is_one_of_those_that_were_drawn(kept):
    drawn = {condition.key: condition for condition in all_conditions()}
    assert len(read_all()) == len(kept)
    assert all(drawn[key] == record.drawn for key, record in kept.items())


def test_no_two_draws_train_the_same_whatever_the_seed_and_the_test(kept):
    drawn = {number: {one.trained for one in all_conditions() if one.draw == number} for number in DRAWS}
    assert all(not drawn[one] & drawn[other] for one, other in combinations(DRAWS, 2))
    counts = Counter(record.drawn.draw for record in kept.values())
    assert all(counts[number] > 150 for number in DRAWS)


def test_the_figures_can_be_told_of_every_draw(kept):
    for number in DRAWS:
        assert any("`overfitting`" in line for line in score.tables([*kept.values()], {number}))
        assert any("**the guard**" in line for line in guard.tables([*kept.values()], {number}))
