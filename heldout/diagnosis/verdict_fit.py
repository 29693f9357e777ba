"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.558, 1.0, 6.0),
    Weight("validation_images", 0.978, 4.19, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.374, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(2.535, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(2.272, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(1.28, _WEIGHTS, right=1, wrong=0),
    "healthy": Fit(0.026, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(1.26, _WEIGHTS, right=10, wrong=2),
    "label_noise": Fit(0.17, _WEIGHTS, right=0, wrong=1),
    "label_order_mismatch": Fit(3.093, _WEIGHTS, right=22, wrong=1),
    "leakage": Fit(4.071, _WEIGHTS, right=46, wrong=1),
    "loss_does_not_rise": Fit(2.403, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-1.265, _WEIGHTS, right=0, wrong=3),
    "metric_artefact": Fit(2.465, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(1.432, _WEIGHTS, right=128, wrong=19),
    "overconfidence": Fit(1.999, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.234, _WEIGHTS, right=22, wrong=8),
    "scale_mismatch": Fit(1.769, _WEIGHTS, right=7, wrong=1),
    "split_shift": Fit(2.848, _WEIGHTS, right=36, wrong=2),
    "test_too_small": Fit(2.535, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(0.125, _WEIGHTS, right=29, wrong=11),
    "underfitting": Fit(1.845, _WEIGHTS, right=65, wrong=7),
}
