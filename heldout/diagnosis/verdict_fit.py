"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.331, 1.0, 6.0),
    Weight("validation_images", 1.12, 4.19, 5.991),
    Weight("sureness", 0.149, 0.0, 8.01),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(0.896, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.865, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.57, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(-0.04, _WEIGHTS, right=4, wrong=1),
    "healthy": Fit(-0.599, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(-0.052, _WEIGHTS, right=15, wrong=4),
    "label_noise": Fit(1.865, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.696, _WEIGHTS, right=34, wrong=2),
    "leakage": Fit(2.445, _WEIGHTS, right=64, wrong=2),
    "loss_does_not_rise": Fit(1.715, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.865, _WEIGHTS, right=0, wrong=0),
    "metric_artefact": Fit(1.784, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(1.056, _WEIGHTS, right=189, wrong=18),
    "overconfidence": Fit(1.279, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.296, _WEIGHTS, right=33, wrong=6),
    "scale_mismatch": Fit(2.262, _WEIGHTS, right=28, wrong=1),
    "split_shift": Fit(1.654, _WEIGHTS, right=50, wrong=3),
    "test_too_small": Fit(1.865, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.583, _WEIGHTS, right=36, wrong=13),
    "underfitting": Fit(1.054, _WEIGHTS, right=87, wrong=8),
}
