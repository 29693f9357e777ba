"""The registry of experiments."""

from collections.abc import Mapping

from heldout.proofs.data import HALF
from heldout.proofs.experiment import Experiment
from heldout.proofs.network import LARGER, MEMORIZE
from heldout.proofs.training import LONGER, RATES, SEEDS

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment for experiment in (LONGER, RATES, MEMORIZE, LARGER, HALF, SEEDS)
}
