"""Chooses the remedies of `auto` from what training and validation have shown. Pure.

Nothing here knows what the images show: `horizontal_flip` is tried on digits too, and the study shows that it harms.
"""

from collections.abc import Sequence

from heldout.errors import InvalidSpec
from heldout.remedies.arms import resolve_remedy
from heldout.remedies.change import Change, RemedyBase
from heldout.verdicts import FINDING_KINDS

MIN_ARMS, MAX_ARMS = 4, 8
# Remedies to try if nothing is known, or nothing is known to be wrong.
USUAL = ("augmentation", "dropout", "dropout+augmentation", "horizontal_flip", "label_smoothing", "longer_cosine")
# Always the last arm: compared with a badly tuned base, a remedy looks better than it is.
TUNING = "retune"
BY_VERDICT = {code: kind.remedies for code, kind in FINDING_KINDS.items() if kind.remedies}
# Verdicts that a study can cure.
CURABLE = frozenset(code for code in BY_VERDICT if FINDING_KINDS[code].is_curable)


def choose_remedies(base: RemedyBase, verdict: str | None = None, findings: Sequence[str] = ()) -> tuple[str, ...]:
    """Choose four to eight remedies, each of which changes the spec.

    Args:
        verdict: of a diagnosis that has not seen the test split; None if there is no training yet.
        findings: the codes of its serious findings; the first remedy of each is added.
    """
    wanted = [*BY_VERDICT.get(verdict or "", USUAL), *(BY_VERDICT[code][0] for code in findings if code in BY_VERDICT)]
    found = _keep_effective(wanted, base)
    if len(found) < MIN_ARMS - 1:
        found = _keep_effective([*wanted, *USUAL], base)[: MIN_ARMS - 1]
    return (*found[: MAX_ARMS - 1], TUNING)


def _keep_effective(names: Sequence[str], base: RemedyBase) -> list[str]:
    return [name for name in dict.fromkeys(names) if _changes_something(name, base)]


def _changes_something(name: str, base: RemedyBase) -> bool:
    try:
        return isinstance(resolve_remedy(name, base), Change)
    except InvalidSpec:  # a combination whose parts exclude each other on this spec
        return False
