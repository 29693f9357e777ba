"""The codes of findings: what each means, for those who branch on it and for the reference page."""

from collections.abc import Iterable

from heldout.stored.audit import AuditFinding

FINDINGS = {
    "leakage": "Images of one split also appear in another.",
    "label_conflicts": "Copies of one image have different labels.",
    "look_alikes": "Images with different labels look alike, and somebody has to say whether they are two things.",
    "duplicates": "Images occur more than once in a split.",
    "group_across_splits": "A group of the group rule has images in several splits of the upload.",
    "class_missing": "A class has no images in a split.",
    "class_imbalance": "Some classes have many more training images than others.",
    "class_shift": "Classes are not equally frequent in all splits.",
    "test_too_small": "The test split is too small to show small differences.",
    "scale_mismatch": "The pixel values of two splits are on different scales.",
    "inverted_values": "Light and dark are swapped between two splits.",
    "channel_order_mismatch": "The colour channels of two splits are in different orders.",
    "orientation_mismatch": "The images of two splits are turned or mirrored against each other.",
    "label_order_mismatch": "A split names the classes in another order than train does.",
    "split_shift": "The images of two splits are not of the same kind.",
    "blank_images": "Images have one colour throughout.",
    "narrow_range": "The images use a small part of their value range.",
    "grey_as_rgb": "All images have three channels that are equal.",
}


def require_known(findings: Iterable[AuditFinding]) -> None:
    """Raises ValueError if a finding has a code that is not in the list above."""
    for finding in findings:
        if finding.code not in FINDINGS:
            raise ValueError(
                f"{finding.code!r} is no code of a finding. Say what it means in worker/ingest/audit/codes.py."
            )
