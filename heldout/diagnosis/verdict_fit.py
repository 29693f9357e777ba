"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.226, 1.0, 5.0),
    Weight("validation_images", 1.332, 4.162, 5.991),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(-0.215, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(0.734, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(0.559, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(-0.436, _WEIGHTS, right=0, wrong=0),
    "healthy": Fit(-1.083, _WEIGHTS, right=0, wrong=0),
    "label_conflicts": Fit(-1.172, _WEIGHTS, right=4, wrong=3),
    "label_noise": Fit(0.734, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.903, _WEIGHTS, right=6, wrong=0),
    "leakage": Fit(1.776, _WEIGHTS, right=32, wrong=1),
    "loss_does_not_rise": Fit(0.647, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(-1.63, _WEIGHTS, right=0, wrong=2),
    "metric_artefact": Fit(0.688, _WEIGHTS, right=0, wrong=0),
    "not_converged": Fit(0.465, _WEIGHTS, right=72, wrong=8),
    "overconfidence": Fit(0.373, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(-1.391, _WEIGHTS, right=26, wrong=15),
    "scale_mismatch": Fit(1.771, _WEIGHTS, right=5, wrong=0),
    "split_shift": Fit(0.602, _WEIGHTS, right=20, wrong=2),
    "test_too_small": Fit(0.734, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.845, _WEIGHTS, right=25, wrong=9),
    "underfitting": Fit(0.601, _WEIGHTS, right=24, wrong=2),
}
