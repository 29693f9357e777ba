"""What verdicts and findings are called, on the page, in the terminal and in reports.

`web/src/words/verdicts.ts` has the same names on the dashboard; a test holds both together.
"""

from collections.abc import Mapping

VERDICT_NAMES: Mapping[str, str] = {
    "healthy": "healthy",
    "cannot_tell": "cannot tell",
    "leakage": "copied images",
    "label_order_mismatch": "labels in another order",
    "scale_mismatch": "other pixel values",
    "preprocessing_mismatch": "model expects other pixels",
    "split_shift": "splits differ",
    "label_conflicts": "one picture, two labels",
    "label_noise": "wrong labels",
    "memorised_noise": "labels that do not fit",
    "class_imbalance": "class imbalance",
    "collapsed_class": "unrecognized class",
    "diverged": "diverged",
    "overfitting": "overfitting",
    "underfitting": "underfitting",
    "not_converged": "ended too early",
    "too_little_data": "too little data",
    "overconfidence": "overconfidence",
    "test_too_small": "test set too small",
    "metric_artefact": "misleading fit accuracy",
}


def name_of(verdict: str) -> str:
    """Of a code that this release does not know, the code in words."""
    return VERDICT_NAMES.get(verdict, verdict.replace("_", " "))
