"""What the audit of a dataset saw, in the words of a diagnosis."""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.findings import Finding

# What spoils the comparison of splits. The others of the audit's codes are of no account for a training's figures.
MEANING: Mapping[str, str] = {
    "leakage": "leakage",
    "group_across_splits": "leakage",
    "label_conflicts": "label_conflicts",
    "class_imbalance": "class_imbalance",
    "class_shift": "split_shift",
    "scale_mismatch": "scale_mismatch",
    "inverted_values": "scale_mismatch",
    "channel_order_mismatch": "split_shift",
    "orientation_mismatch": "split_shift",
    "label_order_mismatch": "label_order_mismatch",
    "split_shift": "split_shift",
    "test_too_small": "test_too_small",
}


MISSING = "class_missing"


def of_audit(audit: Mapping[str, Any]) -> list[Finding]:
    """The findings of an audit (`GET /v1/datasets/{id}/audit`) that explain a training's figures."""
    return [
        Finding(
            _meaning(one),
            one["severity"],
            one["explanation"],
            {"audit": one["code"], **one["numbers"]},
            (remedies.mend_data(one["what_to_do"]),),
        )
        for one in audit["findings"]
        if one["code"] in MEANING or one["code"] == MISSING
    ]


def _meaning(found: Mapping[str, Any]) -> str:
    """A class without training images is the extreme of a rare one; without held-out images it is not measured."""
    if found["code"] == MISSING:
        return "class_imbalance" if "train" in found["numbers"] else "test_too_small"
    return MEANING[found["code"]]
