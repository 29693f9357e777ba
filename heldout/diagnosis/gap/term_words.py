"""What the terms of a gap are called, everywhere, and what each means. Pure.

`web/src/words/verdicts.ts` has the same names on the dashboard; a test holds both together.
"""

from collections.abc import Mapping

from heldout.diagnosis.gap.budget import TermCode

TERM_NAMES: Mapping[TermCode, str] = {
    "late_epochs": "Trained too long",
    "generalisation": "Gap to new images",
    "copies_in_validation": "Copies in validation",
    "split_difference": "Different test set",
    "label_order": "Labels in another order",
    "pixel_values": "Other pixel values",
    "copies_in_test": "Copies in test",
}
# The same names within a sentence.
TERM_PHRASES: Mapping[TermCode, str] = {
    "late_epochs": "training too long",
    "generalisation": "the gap to new images",
    "copies_in_validation": "copies in validation",
    "split_difference": "a different test set",
    "label_order": "labels in another order",
    "pixel_values": "other pixel values",
    "copies_in_test": "copies in test",
}
TERM_MEANINGS: Mapping[TermCode, str] = {
    "late_epochs": "What the epochs after the best one have cost on validation images.",
    "generalisation": "Validation images, which the network was not trained on, against the training images.",
    "copies_in_validation": "Validation images that are copies of training images make validation look too good.",
    "split_difference": "Test images against validation images: it was trained on neither.",
    "label_order": "The classes of test have other names than those of training.",
    "pixel_values": "Test images have another scale, brightness or order of colors.",
    "copies_in_test": "Test images that are copies of training images make test look too good.",
}
