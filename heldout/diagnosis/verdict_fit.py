"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.362, 1.0, 6.0),
    Weight("validation_images", 1.162, 4.19, 5.991),
    Weight("sureness", 0.149, 0.0, 8.01),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(0.544, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.709, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.354, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(-0.435, _WEIGHTS, right=4, wrong=1),
    "healthy": Fit(-1.255, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(-0.059, _WEIGHTS, right=15, wrong=4),
    "label_noise": Fit(1.709, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.551, _WEIGHTS, right=34, wrong=2),
    "leakage": Fit(2.257, _WEIGHTS, right=64, wrong=2),
    "loss_does_not_rise": Fit(1.528, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.709, _WEIGHTS, right=0, wrong=0),
    "metric_artefact": Fit(1.612, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(0.747, _WEIGHTS, right=189, wrong=18),
    "overconfidence": Fit(1.004, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.051, _WEIGHTS, right=33, wrong=6),
    "scale_mismatch": Fit(2.045, _WEIGHTS, right=28, wrong=1),
    "split_shift": Fit(1.459, _WEIGHTS, right=50, wrong=3),
    "test_too_small": Fit(1.709, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.957, _WEIGHTS, right=36, wrong=13),
    "underfitting": Fit(0.604, _WEIGHTS, right=87, wrong=8),
}
