"""Which epoch of a history some answers are of: the one with the same validation figures."""

from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.history import Curve, History

# Share of a loss, and accuracy. Programs write four digits, and mean over batches of different sizes.
_MAX_LOSS_DIFFERENCE = 0.001
_MAX_ACCURACY_DIFFERENCE = 0.0005


def epoch_of(history: History, validation: SplitFigures | None) -> int | None:
    """The number of the one epoch whose validation accuracy and loss are these; None where none or several are."""
    if validation is None or not history.validation_accuracy:
        return None
    losses = history.validation_loss if validation.loss is not None else ()
    near = max(_MAX_ACCURACY_DIFFERENCE, 0.5 / validation.count)
    matching = [
        number
        for place, number in enumerate(history.epoch_numbers)
        if _is_near(history.validation_accuracy, place, validation.accuracy, near)
        and (not losses or _is_near(losses, place, validation.loss or 0.0, _MAX_LOSS_DIFFERENCE))
    ]
    return matching[0] if len(matching) == 1 else None


def _is_near(curve: Curve, place: int, value: float, least: float) -> bool:
    there = curve[place] if place < len(curve) else None
    return there is not None and abs(there - value) <= max(least, _MAX_LOSS_DIFFERENCE * abs(value))
