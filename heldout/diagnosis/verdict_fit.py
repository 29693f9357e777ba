"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.554, 1.0, 6.0),
    Weight("validation_images", 0.899, 4.19, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.485, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(2.657, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(2.395, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(1.409, _WEIGHTS, right=1, wrong=0),
    "healthy": Fit(0.149, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(1.398, _WEIGHTS, right=10, wrong=2),
    "label_noise": Fit(0.295, _WEIGHTS, right=0, wrong=1),
    "label_order_mismatch": Fit(2.356, _WEIGHTS, right=22, wrong=2),
    "leakage": Fit(4.227, _WEIGHTS, right=46, wrong=1),
    "loss_does_not_rise": Fit(2.526, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-1.147, _WEIGHTS, right=0, wrong=3),
    "metric_artefact": Fit(2.587, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(1.574, _WEIGHTS, right=128, wrong=19),
    "overconfidence": Fit(2.124, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.366, _WEIGHTS, right=22, wrong=8),
    "scale_mismatch": Fit(1.907, _WEIGHTS, right=7, wrong=1),
    "split_shift": Fit(2.998, _WEIGHTS, right=36, wrong=2),
    "test_too_small": Fit(2.657, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(0.257, _WEIGHTS, right=29, wrong=11),
    "underfitting": Fit(1.967, _WEIGHTS, right=64, wrong=7),
}
