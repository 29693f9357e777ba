"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the open sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.382, 1.0, 6.0),
    Weight("validation_images", 1.324, 4.836, 5.991),
    Weight("sureness", 0.137, 0.0, 8.558),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.285, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(2.331, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(2.013, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(0.347, _WEIGHTS, right=4, wrong=1),
    "healthy": Fit(-0.11, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(0.578, _WEIGHTS, right=17, wrong=4),
    "label_noise": Fit(2.331, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(2.059, _WEIGHTS, right=47, wrong=3),
    "leakage": Fit(3.286, _WEIGHTS, right=86, wrong=2),
    "loss_does_not_rise": Fit(2.169, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(2.331, _WEIGHTS, right=0, wrong=0),
    "metric_artefact": Fit(0.517, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.252, _WEIGHTS, right=243, wrong=27),
    "overconfidence": Fit(1.7, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(1.028, _WEIGHTS, right=43, wrong=6),
    "scale_mismatch": Fit(2.895, _WEIGHTS, right=33, wrong=1),
    "split_shift": Fit(1.996, _WEIGHTS, right=61, wrong=4),
    "test_too_small": Fit(2.331, _WEIGHTS, right=0, wrong=0),
    "too_little_data": Fit(-0.104, _WEIGHTS, right=50, wrong=16),
    "underfitting": Fit(1.46, _WEIGHTS, right=111, wrong=10),
}
