"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.344, 1.0, 6.0),
    Weight("validation_images", 1.053, 4.19, 5.991),
    Weight("sureness", 0.166, 0.0, 7.426),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(0.846, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.928, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.627, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(-0.057, _WEIGHTS, right=4, wrong=1),
    "healthy": Fit(-0.693, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(-0.057, _WEIGHTS, right=15, wrong=4),
    "label_noise": Fit(1.928, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.838, _WEIGHTS, right=33, wrong=2),
    "leakage": Fit(2.707, _WEIGHTS, right=64, wrong=2),
    "loss_does_not_rise": Fit(1.776, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-2.924, _WEIGHTS, right=0, wrong=6),
    "metric_artefact": Fit(1.846, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(1.156, _WEIGHTS, right=186, wrong=18),
    "overconfidence": Fit(1.325, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.166, _WEIGHTS, right=29, wrong=6),
    "scale_mismatch": Fit(2.493, _WEIGHTS, right=28, wrong=1),
    "split_shift": Fit(1.834, _WEIGHTS, right=50, wrong=3),
    "test_too_small": Fit(1.928, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.569, _WEIGHTS, right=38, wrong=13),
    "underfitting": Fit(1.175, _WEIGHTS, right=87, wrong=8),
}
