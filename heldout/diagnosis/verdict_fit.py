"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.337, 1.0, 6.0),
    Weight("validation_images", 0.411, 4.836, 5.991),
    Weight("test_images", 0.478, 3.912, 6.397),
    Weight("disagreement", -0.364, 0.0, 4.921),
    Weight("sureness", 0.08, 0.0, 13.318),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.357, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.218, _WEIGHTS, right=0, wrong=2),
    "collapsed_class": Fit(1.62, _WEIGHTS, right=5, wrong=1),
    "diverged": Fit(1.964, _WEIGHTS, right=86, wrong=4),
    "healthy": Fit(-0.008, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(1.922, _WEIGHTS, right=41, wrong=3),
    "label_noise": Fit(2.232, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.764, _WEIGHTS, right=88, wrong=7),
    "leakage": Fit(2.284, _WEIGHTS, right=135, wrong=6),
    "loss_does_not_rise": Fit(2.081, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.619, _WEIGHTS, right=0, wrong=1),
    "metric_artefact": Fit(1.571, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.579, _WEIGHTS, right=499, wrong=42),
    "overconfidence": Fit(1.673, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(1.122, _WEIGHTS, right=84, wrong=12),
    "scale_mismatch": Fit(2.95, _WEIGHTS, right=64, wrong=1),
    "split_shift": Fit(1.093, _WEIGHTS, right=102, wrong=15),
    "test_too_small": Fit(1.619, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(0.419, _WEIGHTS, right=93, wrong=25),
    "underfitting": Fit(1.252, _WEIGHTS, right=180, wrong=18),
}
