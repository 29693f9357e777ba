"""The names of remedies."""

from heldout.remedies.catalogue import AFTER_TRAINING, REMEDIES
from heldout.words.labels import REMEDY_NAMES, describe_remedy, join_remedies


def test_combinations_and_lists_are_described_in_words():
    assert set(REMEDY_NAMES) <= {*REMEDIES, *AFTER_TRAINING}
    assert describe_remedy("l2+label_smoothing") == "L2 penalty + label smoothing"
    assert join_remedies(["dropout"]) == '"dropout"'
    assert join_remedies(["ema", "mixup", "my_own"]) == '"averaged weights", "mixup" and "my own"'
