"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.333, 1.0, 6.0),
    Weight("validation_images", 0.699, 4.836, 5.991),
    Weight("test_images", 0.649, 3.912, 6.397),
    Weight("disagreement", -0.443, 0.0, 4.931),
    Weight("sureness", 0.126, 0.0, 8.837),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(0.951, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.819, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.547, _WEIGHTS, right=0, wrong=0),
    "diverged": Fit(0.336, _WEIGHTS, right=7, wrong=1),
    "healthy": Fit(-0.375, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(0.962, _WEIGHTS, right=23, wrong=4),
    "label_noise": Fit(1.819, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.549, _WEIGHTS, right=58, wrong=4),
    "leakage": Fit(2.245, _WEIGHTS, right=105, wrong=3),
    "loss_does_not_rise": Fit(1.68, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.224, _WEIGHTS, right=0, wrong=1),
    "metric_artefact": Fit(1.178, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.007, _WEIGHTS, right=318, wrong=32),
    "overconfidence": Fit(1.28, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.847, _WEIGHTS, right=50, wrong=7),
    "scale_mismatch": Fit(2.266, _WEIGHTS, right=44, wrong=1),
    "split_shift": Fit(1.273, _WEIGHTS, right=68, wrong=6),
    "test_too_small": Fit(1.224, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(-0.012, _WEIGHTS, right=61, wrong=19),
    "underfitting": Fit(1.072, _WEIGHTS, right=141, wrong=11),
}
