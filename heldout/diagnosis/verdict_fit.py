"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.561, 1.0, 6.0),
    Weight("validation_images", 0.931, 4.19, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.47, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(2.577, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(2.321, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(1.361, _WEIGHTS, right=1, wrong=0),
    "healthy": Fit(0.161, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(1.436, _WEIGHTS, right=11, wrong=2),
    "label_noise": Fit(0.297, _WEIGHTS, right=0, wrong=1),
    "label_order_mismatch": Fit(3.088, _WEIGHTS, right=22, wrong=1),
    "leakage": Fit(4.021, _WEIGHTS, right=46, wrong=1),
    "loss_does_not_rise": Fit(2.449, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-1.077, _WEIGHTS, right=0, wrong=3),
    "metric_artefact": Fit(2.509, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(1.496, _WEIGHTS, right=128, wrong=19),
    "overconfidence": Fit(2.058, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.352, _WEIGHTS, right=22, wrong=8),
    "scale_mismatch": Fit(1.823, _WEIGHTS, right=7, wrong=1),
    "split_shift": Fit(2.851, _WEIGHTS, right=36, wrong=2),
    "test_too_small": Fit(2.577, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(0.126, _WEIGHTS, right=29, wrong=12),
    "underfitting": Fit(2.329, _WEIGHTS, right=65, wrong=5),
}
