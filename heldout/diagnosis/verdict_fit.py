"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.366, 1.0, 6.0),
    Weight("validation_images", 0.611, 4.836, 5.991),
    Weight("test_images", 0.413, 3.912, 6.397),
    Weight("disagreement", -0.277, 0.0, 5.663),
    Weight("sureness", 0.087, 0.0, 13.252),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.239, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(1.577, _WEIGHTS, right=0, wrong=1),
    "collapsed_class": Fit(1.585, _WEIGHTS, right=5, wrong=1),
    "diverged": Fit(2.187, _WEIGHTS, right=85, wrong=3),
    "healthy": Fit(-0.274, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(2.795, _WEIGHTS, right=44, wrong=1),
    "label_noise": Fit(0.017, _WEIGHTS, right=2, wrong=7),
    "label_order_mismatch": Fit(3.506, _WEIGHTS, right=95, wrong=1),
    "leakage": Fit(2.53, _WEIGHTS, right=154, wrong=6),
    "loss_does_not_rise": Fit(2.089, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(1.127, _WEIGHTS, right=0, wrong=2),
    "metric_artefact": Fit(1.524, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.474, _WEIGHTS, right=504, wrong=46),
    "overconfidence": Fit(1.636, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.735, _WEIGHTS, right=93, wrong=17),
    "scale_mismatch": Fit(2.78, _WEIGHTS, right=72, wrong=2),
    "split_shift": Fit(0.848, _WEIGHTS, right=122, wrong=20),
    "test_too_small": Fit(1.577, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(0.282, _WEIGHTS, right=102, wrong=26),
    "underfitting": Fit(0.985, _WEIGHTS, right=163, wrong=20),
}
