"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.348, 1.0, 6.0),
    Weight("validation_images", 1.051, 4.836, 5.991),
    Weight("sureness", 0.129, 0.0, 8.837),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.387, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(2.53, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(2.182, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(0.62, _WEIGHTS, right=7, wrong=1),
    "healthy": Fit(-0.313, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(1.441, _WEIGHTS, right=23, wrong=4),
    "label_noise": Fit(2.53, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(2.213, _WEIGHTS, right=58, wrong=4),
    "leakage": Fit(2.559, _WEIGHTS, right=103, wrong=5),
    "loss_does_not_rise": Fit(2.353, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.769, _WEIGHTS, right=0, wrong=1),
    "metric_artefact": Fit(1.709, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.514, _WEIGHTS, right=318, wrong=32),
    "overconfidence": Fit(1.84, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(1.296, _WEIGHTS, right=50, wrong=7),
    "scale_mismatch": Fit(3.033, _WEIGHTS, right=39, wrong=1),
    "split_shift": Fit(1.731, _WEIGHTS, right=72, wrong=7),
    "test_too_small": Fit(1.769, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(0.173, _WEIGHTS, right=61, wrong=19),
    "underfitting": Fit(1.596, _WEIGHTS, right=141, wrong=11),
}
