"""How often each verdict was right. Written by `python -m benchmarks.diagnosis calibrate`.

Logistic regressions on draws 1 to 7 of the labeled collection. A verdict that was wrong
4 times or more has at most 2 figures: those that told best in cross-validation
which verdicts are right. Others have one probability, and those with fewer than 20 known cases none.
docs/measurements/diagnosis.md says how well that holds for trainings that were made later.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

# With training measured as validation is.
FITS_OF_JOBS: Mapping[str, Fit] = {
    "class_imbalance": Fit(4.828, (), right=62, wrong=0),
    "collapsed_class": Fit(3.344, (), right=42, wrong=1),
    "diverged": Fit(
        -1.155,
        (Weight("noise", 0.77, -5.492, 1.402), Weight("validation_accuracy", 2.727, 0.069, 0.649)),
        right=18,
        wrong=5,
    ),
    "healthy": Fit(
        -1.128, (Weight("rise", -0.472, -6.908, -1.887), Weight("epochs", 1.441, 1.386, 3.786)), right=23, wrong=16
    ),
    "label_conflicts": Fit(4.111, (), right=30, wrong=0),
    "label_noise": Fit(5.442, (), right=115, wrong=0),
    "label_order_mismatch": Fit(5.714, (), right=151, wrong=0),
    "leakage": Fit(4.403, (), right=122, wrong=1),
    "loss_does_not_rise": Fit(
        6.056,
        (Weight("fall_sigmas", 0.419, -6.908, 6.686), Weight("training_accuracy", -5.901, 0.102, 1.0)),
        right=1321,
        wrong=15,
    ),
    "memorised_noise": Fit(4.595, (), right=49, wrong=0),
    "metric_artefact": Fit(4.727, (), right=169, wrong=1),
    "not_converged": Fit(
        1.535,
        (Weight("validation_fall", 3.54, -2.003, 0.437), Weight("training_fall", -1.429, -2.189, 1.022)),
        right=507,
        wrong=30,
    ),
    "overconfidence": Fit(0.91, (Weight("training_accuracy", 17.826, 0.86, 1.0),), right=241, wrong=13),
    "overfitting": Fit(2.909, (), right=27, wrong=1),
    "scale_mismatch": Fit(6.192, (), right=244, wrong=0),
    "split_shift": Fit(3.978, (), right=133, wrong=2),
    "test_too_small": Fit(6.075, (), right=217, wrong=0),
    "too_little_data": Fit(3.154, (Weight("validation_fall", -0.267, -6.908, -0.741),), right=235, wrong=15),
    "underfitting": Fit(
        1.835,
        (Weight("training_fall", -0.465, -6.908, -0.586), Weight("epochs", 2.613, 2.303, 3.401)),
        right=98,
        wrong=25,
    ),
}

# With training as `fit` reports it, and curves alone.
FITS_OF_HISTORIES: Mapping[str, Fit] = {
    "healthy": Fit(
        2.144,
        (Weight("rise", -0.554, -6.908, -1.736), Weight("fall_sigmas", -0.265, -6.908, 4.379)),
        right=53,
        wrong=156,
    ),
    "loss_does_not_rise": Fit(
        4.742,
        (Weight("rise", -0.998, -6.908, -2.193), Weight("validation_fall", 0.755, -6.908, -0.252)),
        right=1319,
        wrong=22,
    ),
    "not_converged": Fit(
        3.08,
        (Weight("validation_fall", 3.116, -1.737, 0.051), Weight("epochs", -0.699, 1.099, 4.094)),
        right=334,
        wrong=7,
    ),
    "overconfidence": Fit(1.087, (Weight("training_accuracy", 16.916, 0.849, 1.0),), right=234, wrong=11),
    "overfitting": Fit(
        -2.03,
        (Weight("noise", 0.87, -6.81, -1.757), Weight("validation_accuracy", 5.159, 0.107, 0.874)),
        right=30,
        wrong=5,
    ),
    "too_little_data": Fit(
        -5.191,
        (Weight("validation_fall", -0.531, -6.908, -0.648), Weight("validation_accuracy", 14.111, 0.233, 0.887)),
        right=221,
        wrong=80,
    ),
}
