"""How often the verdict of a measured gap names what to fix first.

Written by `python -m benchmarks.zoo calibrate`, which fits it on the sets of the zoo. An empty name
stands for verdicts that were never given there.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

_WEIGHTS = (
    Weight("causes", -0.323, 1.0, 6.0),
    Weight("validation_images", 0.496, 4.836, 5.991),
    Weight("test_images", 0.547, 3.326, 6.397),
    Weight("disagreement", -0.46, 0.0, 4.336),
    Weight("sureness", 0.121, 0.0, 9.019),
)
FITS_OF_VERDICTS: Mapping[str, Fit] = {
    "": Fit(1.194, _WEIGHTS, right=0, wrong=0),
    "class_imbalance": Fit(2.115, _WEIGHTS, right=0, wrong=0),
    "collapsed_class": Fit(1.402, _WEIGHTS, right=5, wrong=1),
    "diverged": Fit(0.544, _WEIGHTS, right=11, wrong=1),
    "healthy": Fit(-0.364, _WEIGHTS, right=1, wrong=0),
    "label_conflicts": Fit(1.509, _WEIGHTS, right=31, wrong=3),
    "label_noise": Fit(2.115, _WEIGHTS, right=0, wrong=0),
    "label_order_mismatch": Fit(2.239, _WEIGHTS, right=80, wrong=3),
    "leakage": Fit(2.413, _WEIGHTS, right=130, wrong=4),
    "loss_does_not_rise": Fit(1.948, _WEIGHTS, right=0, wrong=0),
    "memorised_noise": Fit(0.637, _WEIGHTS, right=0, wrong=3),
    "metric_artefact": Fit(1.359, _WEIGHTS, right=0, wrong=1),
    "not_converged": Fit(1.329, _WEIGHTS, right=430, wrong=35),
    "overconfidence": Fit(1.48, _WEIGHTS, right=0, wrong=0),
    "overfitting": Fit(0.814, _WEIGHTS, right=59, wrong=9),
    "scale_mismatch": Fit(2.738, _WEIGHTS, right=58, wrong=1),
    "split_shift": Fit(1.28, _WEIGHTS, right=95, wrong=9),
    "test_too_small": Fit(1.412, _WEIGHTS, right=0, wrong=1),
    "too_little_data": Fit(0.146, _WEIGHTS, right=77, wrong=20),
    "underfitting": Fit(1.245, _WEIGHTS, right=187, wrong=14),
}
