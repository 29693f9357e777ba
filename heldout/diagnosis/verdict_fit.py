"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.385, 1.0, 6.0),
    Weight("validation_images", 1.011, 4.19, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.241, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(2.249, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.965, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(0.379, _WEIGHTS, right=4, wrong=1),
    "healthy": Fit(-0.211, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(0.377, _WEIGHTS, right=15, wrong=4),
    "label_noise": Fit(2.249, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(2.145, _WEIGHTS, right=33, wrong=2),
    "leakage": Fit(2.956, _WEIGHTS, right=64, wrong=2),
    "loss_does_not_rise": Fit(2.105, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-2.059, _WEIGHTS, right=0, wrong=5),
    "metric_artefact": Fit(2.172, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(1.429, _WEIGHTS, right=185, wrong=19),
    "overconfidence": Fit(1.681, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.585, _WEIGHTS, right=29, wrong=6),
    "scale_mismatch": Fit(2.757, _WEIGHTS, right=28, wrong=1),
    "split_shift": Fit(2.685, _WEIGHTS, right=52, wrong=2),
    "test_too_small": Fit(2.249, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.101, _WEIGHTS, right=38, wrong=13),
    "underfitting": Fit(1.525, _WEIGHTS, right=87, wrong=8),
}
