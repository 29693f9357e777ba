"""The registry of experiments."""

from collections.abc import Mapping

from heldout.proofs.data import CLASS_WEIGHTS, FLIP, HALF, MEASURED, RESPLIT, WITHOUT_COPIES, WITHOUT_SUSPECTS
from heldout.proofs.experiment import Experiment
from heldout.proofs.network import FAULT, LARGER, MEMORIZE
from heldout.proofs.training import LONGER, RATES, SEEDS

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        MEASURED,
        LONGER,
        RATES,
        MEMORIZE,
        LARGER,
        FAULT,
        HALF,
        SEEDS,
        RESPLIT,
        WITHOUT_COPIES,
        WITHOUT_SUSPECTS,
        CLASS_WEIGHTS,
        FLIP,
    )
}
