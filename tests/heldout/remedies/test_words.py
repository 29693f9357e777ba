"""What remedies are called."""

from heldout.remedies.catalogue import AFTER_TRAINING, REMEDIES
from heldout.words.labels import REMEDY_NAMES, named, words_of


def test_combinations_and_lists_are_said_in_words():
    assert set(REMEDY_NAMES) <= {*REMEDIES, *AFTER_TRAINING}
    assert words_of("l2+label_smoothing") == "L2 penalty + label smoothing"
    assert named(["dropout"]) == '"dropout"'
    assert named(["ema", "mixup", "my_own"]) == '"averaged weights", "mixup" and "my own"'
