"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.173, 1.0, 5.9),
    Weight("validation_images", 1.353, 4.162, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(-0.353, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(0.581, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(0.409, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(-0.57, _WEIGHTS, right=0, wrong=0),
    "healthy": Fit(-1.206, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(-1.294, _WEIGHTS, right=4, wrong=3),
    "label_noise": Fit(0.581, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.731, _WEIGHTS, right=6, wrong=0),
    "leakage": Fit(1.605, _WEIGHTS, right=32, wrong=1),
    "loss_does_not_rise": Fit(0.495, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-1.745, _WEIGHTS, right=0, wrong=2),
    "metric_artefact": Fit(0.536, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(0.317, _WEIGHTS, right=72, wrong=8),
    "overconfidence": Fit(0.225, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(-1.51, _WEIGHTS, right=26, wrong=15),
    "scale_mismatch": Fit(1.601, _WEIGHTS, right=5, wrong=0),
    "split_shift": Fit(0.451, _WEIGHTS, right=20, wrong=2),
    "test_too_small": Fit(0.581, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.973, _WEIGHTS, right=25, wrong=9),
    "underfitting": Fit(0.536, _WEIGHTS, right=24, wrong=2),
}
