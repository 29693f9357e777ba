"""How often each verdict was right. Written by `python -m benchmarks.diagnosis calibrate`.

Logistic regressions on draws 1 to 7 of the labeled collection. A verdict that was wrong
4 times or more has at most 2 figures: those that predicted best in
cross-validation which verdicts are right. Others have one probability, and those with fewer than
20 known cases none.
docs/measurements/diagnosis.md says how well that holds for trainings that were made later.
"""

from collections.abc import Mapping

from heldout.diagnosis.logistic import Fit, Weight

# With training measured as validation is.
FITS_OF_JOBS: Mapping[str, Fit] = {
    "class_imbalance": Fit(4.828, (), right=62, wrong=0),
    "collapsed_class": Fit(3.344, (), right=42, wrong=1),
    "healthy": Fit(
        -1.128, (Weight("rise", -0.472, -6.908, -1.887), Weight("epochs", 1.441, 1.386, 3.786)), right=23, wrong=16
    ),
    "label_conflicts": Fit(4.111, (), right=30, wrong=0),
    "label_noise": Fit(5.442, (), right=115, wrong=0),
    "label_order_mismatch": Fit(5.714, (), right=151, wrong=0),
    "leakage": Fit(4.403, (), right=122, wrong=1),
    "loss_does_not_rise": Fit(
        6.042,
        (Weight("fall_sigmas", 0.42, -6.908, 6.707), Weight("training_accuracy", -5.949, 0.109, 1.0)),
        right=1250,
        wrong=15,
    ),
    "memorised_noise": Fit(4.595, (), right=49, wrong=0),
    "metric_artefact": Fit(4.727, (), right=169, wrong=1),
    "not_converged": Fit(
        2.178,
        (Weight("validation_fall", 4.384, -1.864, 0.437), Weight("training_fall", -2.382, -1.834, 1.03)),
        right=504,
        wrong=24,
    ),
    "overconfidence": Fit(0.91, (Weight("training_accuracy", 17.73, 0.86, 1.0),), right=239, wrong=13),
    "overfitting": Fit(2.909, (), right=27, wrong=1),
    "scale_mismatch": Fit(6.192, (), right=244, wrong=0),
    "split_shift": Fit(3.978, (), right=133, wrong=2),
    "test_too_small": Fit(6.075, (), right=217, wrong=0),
    "too_little_data": Fit(3.144, (Weight("validation_fall", -0.265, -6.908, -0.741),), right=233, wrong=15),
    "underfitting": Fit(
        6.604,
        (Weight("training_fall", -1.298, -6.908, -0.485), Weight("epochs", 1.773, 2.485, 3.476)),
        right=71,
        wrong=17,
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
        4.39,
        (Weight("rise", -0.944, -6.908, -2.215), Weight("validation_fall", 0.785, -6.908, -0.307)),
        right=1248,
        wrong=22,
    ),
    "not_converged": Fit(
        2.933,
        (Weight("validation_fall", 3.214, -1.737, 0.051), Weight("training_accuracy", -2.027, 0.099, 0.926)),
        right=333,
        wrong=7,
    ),
    "overconfidence": Fit(1.073, (Weight("training_accuracy", 16.913, 0.849, 1.0),), right=232, wrong=11),
    "overfitting": Fit(
        -2.03,
        (Weight("noise", 0.87, -6.81, -1.757), Weight("validation_accuracy", 5.159, 0.107, 0.874)),
        right=30,
        wrong=5,
    ),
    "too_little_data": Fit(
        -5.246,
        (Weight("validation_fall", -0.528, -6.908, -0.645), Weight("validation_accuracy", 14.176, 0.233, 0.888)),
        right=219,
        wrong=80,
    ),
}
