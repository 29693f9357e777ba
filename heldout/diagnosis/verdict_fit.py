"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.496, 1.0, 5.8),
    Weight("validation_images", 1.228, 4.19, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(0.085, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.22, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.072, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(0.142, _WEIGHTS, right=0, wrong=0),
    "healthy": Fit(-0.524, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(1.22, _WEIGHTS, right=0, wrong=0),
    "label_noise": Fit(1.22, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(2.571, _WEIGHTS, right=6, wrong=0),
    "leakage": Fit(2.385, _WEIGHTS, right=23, wrong=1),
    "loss_does_not_rise": Fit(1.147, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.22, _WEIGHTS, right=0, wrong=0),
    "metric_artefact": Fit(1.182, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(-0.055, _WEIGHTS, right=49, wrong=17),
    "overconfidence": Fit(0.909, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(-0.484, _WEIGHTS, right=26, wrong=13),
    "scale_mismatch": Fit(2.42, _WEIGHTS, right=5, wrong=0),
    "split_shift": Fit(-0.358, _WEIGHTS, right=12, wrong=6),
    "test_too_small": Fit(1.22, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.177, _WEIGHTS, right=20, wrong=8),
    "underfitting": Fit(0.699, _WEIGHTS, right=21, wrong=4),
}
