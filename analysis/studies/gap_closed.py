"""How much of the gap between training and held-out images a winner closes, and what remains of it. Pure."""

from heldout.views.study import ArmView, GapClosedView, StudyTestView
from heldout.words import percent

# In shares of images: less than this is no gap, and no change of one.
LEAST = 0.0005


def gap_closed(base: ArmView, winner: ArmView, test: StudyTestView | None) -> GapClosedView | None:
    """From training to test where both were measured there, else to validation; None without figures.

    Args:
        base, winner: the arms, with the means over the seeds that were compared.
    """
    heldout = (base.validation, winner.validation) if test is None else (test.base, test.winner)
    figures = [None if one is None else one.accuracy for one in (base.train, winner.train, *heldout)]
    if None in figures:
        return None
    trained, trained_with, held, held_with = (float(one) for one in figures if one is not None)
    before, after = trained - held, trained_with - held_with
    to = "validation" if test is None else "test"
    return GapClosedView(
        to=to,
        base=before,
        winner=after,
        explanation=_explain(to, before, after, better=held_with - held, less=trained - trained_with),
    )


def _explain(to: str, before: float, after: float, *, better: float, less: float) -> str:
    """better, less: of what is closed, the part on held-out images, and the part that training accuracy falls."""
    if before < LEAST:
        return f"Without it, there is no gap from training to {to} to close."
    start = f"The gap from training to {to} is {_points(before)} points without it and {_points(after)} with it"
    closed = before - after
    if closed < LEAST:
        return f"{start}: it does not close."
    remains = "nothing remains" if after < LEAST else f"{_points(after)} points remain"
    text = f"{start}: {percent(min(1.0, closed / before), 0)} is closed, and {remains}."
    if less < LEAST:
        return text
    won = f"{_points(better)} are higher {to} accuracy" if better >= LEAST else f"none are higher {to} accuracy"
    return f"{text} Of the {_points(closed)} points closed, {won} and {_points(less)} lower training accuracy."


def _points(share: float) -> str:
    return f"{100 * share:.1f}"
