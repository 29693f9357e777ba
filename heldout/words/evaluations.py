"""What is said of a measured model: how often it is right, what to look at next, and how true its probabilities are."""

from heldout.stored.measurement import Measurement
from heldout.words import of_100


def describe_evaluation(status: str, measured: Measurement | None) -> tuple[str, str]:
    """The headline and the summary of an evaluation; of one that has not ended, that there is nothing to see yet."""
    if measured is None:
        return _UNMEASURED.get(status, _UNMEASURED["running"])
    metrics = measured.metrics
    known = [
        (name, split)
        for name, split in (("test", metrics.test), ("validation", metrics.validation), ("training", metrics.train))
        if split is not None
    ]
    if not known:
        return "Nothing was measured.", "The dataset has no images. Choose another one."
    (name, first), *others = known
    beside = " and ".join(f"{of_100(split.accuracy)} {other} images" for other, split in others)
    effect = f"It also gets {beside} right." if others else "No other split was measured."
    given = None if measured.as_given is None else getattr(measured.as_given, "train" if name == "training" else name)
    if given is not None and given.accuracy < first.accuracy:
        effect = f"It needs other pixel values: on the images as given it gets only {of_100(given.accuracy)}."
    return f"The model gets {of_100(first.accuracy)} {name} images right.", f"{effect} The verdict says what to fix."


_UNMEASURED = {
    "queued": ("This evaluation has not started.", "It waits for a worker. There is nothing to do until then."),
    "running": ("The model is being measured.", "Figures come when it has answered every image. Wait for the end."),
    "failed": ("The evaluation failed.", "There are no figures. Fix what the error says and order it again."),
    "cancelled": ("The evaluation was cancelled.", "There are no figures. Order it again if you need them."),
}


def describe_calibration(split: str, temperature: float, error_before: float, error_after: float) -> str:
    """How far probabilities are from being true, and after one temperature. error_before, error_after: as fractions."""
    before, after = (f"{100 * error:.1f} points" for error in (error_before, error_after))
    said = f"On {split} images, probabilities are {before} away from how often the network is right, on average"
    if error_after >= error_before:
        return f"{said}; one temperature does not fix that."
    return f"{said}; {after} once its outputs are divided by {temperature:.2f} (before the softmax)."
