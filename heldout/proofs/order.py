"""Which cause comes first once experiments have ended, and what must be ruled out before that is proven.

That a cause is proven says that it is one, not that it is the first. False figures come before broken training, and
broken training before the parts of a gap. So a verdict is proven once nothing that would come before it is open.
"""

from heldout.proofs.known import Known
from heldout.proofs.outcomes import HEALTHY, Outcomes

FIGURES, TRAINING, REST = "figures_not_true", "training_broken", "rest_of_gap"
_TIERS = (FIGURES, TRAINING, REST)
# Findings whose figures are not true come before anything that training could be blamed for.
OF_FIGURES = frozenset(
    {"leakage", "label_order_mismatch", "scale_mismatch", "preprocessing_mismatch", "label_conflicts", "split_shift"}
)
# All but a visible difference of images come first whatever their size, so they must be ruled out.
FIRST_OF_ANY_SIZE = OF_FIGURES - {"split_shift"}
# Broken training: the order in which to fix it.
ORDER_OF_TRAINING = (
    "evaluation_lags",
    "diverged",
    "memorised_noise",
    "collapsed_class",
    "underfitting",
    "not_converged",
    "overconfidence",
)


def list_open(verdict: str, known: Known, outcomes: Outcomes) -> list[str]:
    """List the causes that would come before the verdict, and that nothing has ruled out yet."""
    codes = list[str]()
    tier = find_tier(verdict, known, outcomes)
    if tier != FIGURES:
        codes += [code for code, listed in known.tiers.items() if listed == FIGURES or code in FIRST_OF_ANY_SIZE]
        codes += ["split_shift"] if known.splits_disagree else []
        codes += ["diverged"] if known.has_high_rate and known.is_poor else []
    if tier not in (FIGURES, TRAINING):
        codes += [] if known.knows_all else ["not_converged"]
        codes += ["underfitting"] if known.is_poor else []
    return [code for code in dict.fromkeys(codes) if code != verdict and outcomes.get_answer(code) != "refuted"]


def find_tier(code: str, known: Known, outcomes: Outcomes) -> str:
    is_proven = outcomes.get_answer(code) == "proven"
    if is_proven and code in OF_FIGURES:
        return FIGURES
    if is_proven and code in ORDER_OF_TRAINING:
        return TRAINING
    return known.tiers.get(code, REST)


def is_proven(verdict: str, known: Known, outcomes: Outcomes) -> bool:
    """Whether experiments prove the verdict, and that it comes first."""
    is_shown = outcomes.is_healthy() if verdict == HEALTHY else outcomes.get_answer(verdict) == "proven"
    return is_shown and not list_open(verdict, known, outcomes)


def find_verdict(verdict: str, known: Known, outcomes: Outcomes) -> str:
    """Find the cause that comes first now. verdict: the diagnosis' own, from before the experiments."""
    codes = [code for code in known.tiers if outcomes.get_answer(code) != "refuted"]
    codes += [code for code in outcomes.proven if code not in codes]
    if is_training_left_poor(codes, known, outcomes):
        codes.append("underfitting")
    if not codes:
        return HEALTHY if outcomes.get_answer(verdict) == "refuted" else verdict

    def rank(code: str) -> tuple[int, bool, int, int]:
        tier = find_tier(code, known, outcomes)
        # Faults of training explain the same sign: what is proven of them comes before what is only likely.
        is_likely = tier == TRAINING and outcomes.get_answer(code) != "proven"
        place = ORDER_OF_TRAINING.index(code) if tier == TRAINING and code in ORDER_OF_TRAINING else 0
        return _TIERS.index(tier) if tier in _TIERS else len(_TIERS), is_likely, place, codes.index(code)

    return min(codes, key=rank)


def is_training_left_poor(codes: list[str], known: Known, outcomes: Outcomes) -> bool:
    """Whether a fault of training was refuted and its sign is left: training images that the network does not know.

    Then it learns too little, whatever the reason, unless that is refuted, too.
    """
    was_blamed = any(outcomes.get_answer(code) == "refuted" and code in known.tiers for code in ORDER_OF_TRAINING)
    is_named = any(code in ORDER_OF_TRAINING for code in codes if find_tier(code, known, outcomes) == TRAINING)
    return was_blamed and known.is_poor and not is_named and outcomes.get_answer("underfitting") is None
