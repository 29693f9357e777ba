"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.299, 1.0, 6.0),
    Weight("validation_images", 0.548, 4.836, 5.991),
    Weight("test_images", 0.605, 3.326, 6.397),
    Weight("disagreement", -0.482, 0.0, 4.385),
    Weight("sureness", 0.118, 0.0, 8.947),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(0.811, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.733, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.124, _WEIGHTS, right=5, wrong=1),
    "diverged": Fit(0.137, _WEIGHTS, right=11, wrong=2),
    "healthy": Fit(-0.564, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(1.024, _WEIGHTS, right=31, wrong=4),
    "label_noise": Fit(1.733, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.645, _WEIGHTS, right=71, wrong=4),
    "leakage": Fit(2.174, _WEIGHTS, right=129, wrong=4),
    "loss_does_not_rise": Fit(1.59, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(0.402, _WEIGHTS, right=0, wrong=3),
    "metric_artefact": Fit(1.069, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(0.873, _WEIGHTS, right=435, wrong=45),
    "overconfidence": Fit(1.175, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.515, _WEIGHTS, right=59, wrong=10),
    "scale_mismatch": Fit(2.394, _WEIGHTS, right=55, wrong=1),
    "split_shift": Fit(0.98, _WEIGHTS, right=85, wrong=9),
    "test_too_small": Fit(1.118, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(-0.133, _WEIGHTS, right=77, wrong=22),
    "underfitting": Fit(0.935, _WEIGHTS, right=187, wrong=16),
}
