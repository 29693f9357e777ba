"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.362, 1.0, 5.0),
    Weight("validation_images", 1.088, 4.19, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(0.356, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.378, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.203, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(0.533, _WEIGHTS, right=1, wrong=0),
    "healthy": Fit(-0.491, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(0.086, _WEIGHTS, right=9, wrong=3),
    "label_noise": Fit(-0.346, _WEIGHTS, right=0, wrong=1),
    "label_order_mismatch": Fit(3.165, _WEIGHTS, right=11, wrong=0),
    "leakage": Fit(2.857, _WEIGHTS, right=41, wrong=1),
    "loss_does_not_rise": Fit(1.291, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-1.512, _WEIGHTS, right=0, wrong=3),
    "metric_artefact": Fit(1.332, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(0.51, _WEIGHTS, right=109, wrong=21),
    "overconfidence": Fit(1.015, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(-0.666, _WEIGHTS, right=33, wrong=17),
    "scale_mismatch": Fit(2.628, _WEIGHTS, right=6, wrong=0),
    "split_shift": Fit(1.036, _WEIGHTS, right=31, wrong=4),
    "test_too_small": Fit(1.378, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.41, _WEIGHTS, right=31, wrong=13),
    "underfitting": Fit(1.366, _WEIGHTS, right=35, wrong=3),
}
