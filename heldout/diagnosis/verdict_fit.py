"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.365, 1.0, 6.0),
    Weight("validation_images", 0.428, 4.836, 5.991),
    Weight("test_images", 0.522, 3.912, 6.397),
    Weight("disagreement", -0.392, 0.0, 4.932),
    Weight("sureness", 0.164, 0.0, 7.395),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.335, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.159, _WEIGHTS, right=0, wrong=2),
    "collapsed_class": Fit(1.585, _WEIGHTS, right=5, wrong=1),
    "diverged": Fit(0.755, _WEIGHTS, right=11, wrong=1),
    "healthy": Fit(-0.142, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(1.747, _WEIGHTS, right=33, wrong=3),
    "label_noise": Fit(2.252, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.72, _WEIGHTS, right=88, wrong=7),
    "leakage": Fit(2.347, _WEIGHTS, right=146, wrong=6),
    "loss_does_not_rise": Fit(2.096, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.588, _WEIGHTS, right=0, wrong=1),
    "metric_artefact": Fit(1.537, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.548, _WEIGHTS, right=514, wrong=42),
    "overconfidence": Fit(1.651, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(1.041, _WEIGHTS, right=84, wrong=12),
    "scale_mismatch": Fit(2.987, _WEIGHTS, right=64, wrong=1),
    "split_shift": Fit(1.256, _WEIGHTS, right=102, wrong=12),
    "test_too_small": Fit(1.588, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(0.3, _WEIGHTS, right=93, wrong=25),
    "underfitting": Fit(1.466, _WEIGHTS, right=233, wrong=18),
}
