"""Which remedies `auto` takes, from what training and validation have shown. Pure.

Nothing here knows what an image shows: `horizontal_flip` is tried on digits too, and the study shows that it harms.
"""

from collections.abc import Sequence

from heldout.errors import InvalidSpec
from heldout.remedies.arms import outcome_of
from heldout.remedies.change import Base, Change
from heldout.verdicts import FINDING_KINDS

MIN_ARMS, MAX_ARMS = 4, 8
# Where nothing is known to be wrong, or nothing is known.
USUAL = ("augmentation", "dropout", "dropout+augmentation", "horizontal_flip", "label_smoothing", "longer_cosine")
# Always the last: a remedy beside a badly tuned base looks better than it is.
TUNING = "retune"
BY_VERDICT = {code: kind.remedies for code, kind in FINDING_KINDS.items() if kind.remedies}
# What a study can cure.
CURABLE = frozenset(code for code in BY_VERDICT if FINDING_KINDS[code].is_curable)


def automatic(base: Base, verdict: str | None = None, findings: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of four to eight remedies, each of which changes the spec.

    Args:
        verdict: of a diagnosis that has not seen the test split; None where there is no training yet.
        findings: the codes of its serious findings; the first remedy of each comes along.
    """
    wanted = [*BY_VERDICT.get(verdict or "", USUAL), *(BY_VERDICT[code][0] for code in findings if code in BY_VERDICT)]
    found = _that_change_something(wanted, base)
    if len(found) < MIN_ARMS - 1:
        found = _that_change_something([*wanted, *USUAL], base)[: MIN_ARMS - 1]
    return (*found[: MAX_ARMS - 1], TUNING)


def _that_change_something(names: Sequence[str], base: Base) -> list[str]:
    return [name for name in dict.fromkeys(names) if _changes_something(name, base)]


def _changes_something(name: str, base: Base) -> bool:
    try:
        return isinstance(outcome_of(name, base), Change)
    except InvalidSpec:  # a combination whose parts exclude each other on this spec
        return False
