"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.318, 1.0, 6.0),
    Weight("validation_images", -0.033, 4.849, 5.991),
    Weight("test_images", 0.488, 3.912, 6.397),
    Weight("disagreement", -0.291, 0.0, 5.242),
    Weight("sureness", 0.093, 0.0, 12.593),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.44, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.429, _WEIGHTS, right=0, wrong=2),
    "collapsed_class": Fit(1.855, _WEIGHTS, right=5, wrong=1),
    "diverged": Fit(2.385, _WEIGHTS, right=97, wrong=4),
    "healthy": Fit(0.119, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(1.002, _WEIGHTS, right=44, wrong=11),
    "label_noise": Fit(1.162, _WEIGHTS, right=1, wrong=3),
    "label_order_mismatch": Fit(0.838, _WEIGHTS, right=102, wrong=24),
    "leakage": Fit(2.809, _WEIGHTS, right=152, wrong=6),
    "loss_does_not_rise": Fit(2.283, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.835, _WEIGHTS, right=0, wrong=1),
    "metric_artefact": Fit(1.787, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.925, _WEIGHTS, right=541, wrong=46),
    "overconfidence": Fit(1.884, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(1.039, _WEIGHTS, right=92, wrong=18),
    "scale_mismatch": Fit(3.025, _WEIGHTS, right=72, wrong=2),
    "split_shift": Fit(1.253, _WEIGHTS, right=118, wrong=19),
    "test_too_small": Fit(1.835, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(0.655, _WEIGHTS, right=99, wrong=26),
    "underfitting": Fit(1.454, _WEIGHTS, right=196, wrong=22),
}
