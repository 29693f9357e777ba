"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.333, 1.0, 6.0),
    Weight("validation_images", 0.416, 4.836, 5.991),
    Weight("test_images", 0.479, 3.912, 6.397),
    Weight("disagreement", -0.365, 0.0, 4.921),
    Weight("sureness", 0.079, 0.0, 13.318),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.341, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.203, _WEIGHTS, right=0, wrong=2),
    "collapsed_class": Fit(1.603, _WEIGHTS, right=5, wrong=1),
    "diverged": Fit(1.947, _WEIGHTS, right=86, wrong=4),
    "healthy": Fit(-0.02, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(1.905, _WEIGHTS, right=41, wrong=3),
    "label_noise": Fit(2.213, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(1.747, _WEIGHTS, right=88, wrong=7),
    "leakage": Fit(2.265, _WEIGHTS, right=135, wrong=6),
    "loss_does_not_rise": Fit(2.063, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.602, _WEIGHTS, right=0, wrong=1),
    "metric_artefact": Fit(1.555, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.562, _WEIGHTS, right=499, wrong=42),
    "overconfidence": Fit(1.657, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(1.107, _WEIGHTS, right=84, wrong=12),
    "scale_mismatch": Fit(2.93, _WEIGHTS, right=64, wrong=1),
    "split_shift": Fit(1.078, _WEIGHTS, right=102, wrong=15),
    "test_too_small": Fit(1.602, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(0.405, _WEIGHTS, right=93, wrong=25),
    "underfitting": Fit(1.237, _WEIGHTS, right=180, wrong=18),
}
