"""All remedies by name. `docs/reference/remedies.md` lists them with their values."""

from collections.abc import Mapping

from heldout.remedies import faults, images, network, training
from heldout.remedies.change import Remedy

REMEDIES: Mapping[str, Remedy] = images.REMEDIES | network.REMEDIES | training.REMEDIES | faults.REMEDIES

# Corrections of probabilities after a training. They are not study arms, because answers and accuracy stay the same.
AFTER_TRAINING: Mapping[str, str] = {
    "temperature": "Temperature scaling divides the network's outputs by one number after training: loss and "
    "calibration improve, accuracy never changes, and nothing has to be trained. The diagnosis of a job "
    "gives the number."
}
