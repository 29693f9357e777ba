"""Metric artifact: `fit` shows a gap that is not there, because its accuracy is an average under dropout."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import Curve
from heldout.diagnosis.thresholds import MIN_FIT_ARTEFACT, MIN_FIT_BELOW_VALIDATION
from heldout.words import percent


def find(facts: Facts) -> list[Finding]:
    history = facts.curves.history
    fit, measured = _get_last(history.fit_accuracy), _get_last(history.train_accuracy)
    heldout = _get_last(history.validation_accuracy)
    if fit is None or measured is None or heldout is None:
        return []
    shown, real = fit - heldout, measured - heldout
    if real - shown < MIN_FIT_ARTEFACT or shown > -MIN_FIT_BELOW_VALIDATION:
        return []
    mixes = facts.spec is not None and any(facts.spec["training"].get(way) for way in ("mixup", "cutmix"))
    harder = "dropout, augmentation and mixed images" if mixes else "dropout and augmentation"
    return [
        Finding(
            "metric_artefact",
            "warning",
            f"`fit` reports a training accuracy of {percent(fit)}, below validation accuracy ({percent(heldout)}). "
            f"Nothing is wrong with the training: without {harder}, training accuracy is "
            f"{percent(measured)}. `fit` averages over an epoch, with {harder}, while the weights are "
            "still changing. Compare the measured accuracies (`train_accuracy`), not those of `fit`.",
            {"fit_accuracy": fit, "train_accuracy": measured, "validation_accuracy": heldout},
        )
    ]


def _get_last(curve: Curve) -> float | None:
    """The last finite value."""
    return next((value for value in reversed(curve) if value is not None), None)
