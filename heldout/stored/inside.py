"""What was seen inside a network: its layers' units, gradients and steps, and both of its modes on the same images."""

from pydantic import Field

from heldout.stored.file import StoredPart
from heldout.stored.results import Figure


class InsideLook(StoredPart):
    """One look at a network with a few training images. Lists are by layer, from the images to the answers."""

    images: int = Field(description="Number of training images that were looked at.")
    loss: Figure = Field(description="Cross-entropy in nats in training mode, without dropout.")
    accuracy: float = Field(description="In training mode, without dropout.")
    inference_loss: Figure
    inference_accuracy: float
    penalty: Figure = Field(description="What regularizers add to the loss.")
    one_answer: float = Field(description="Share of the most frequent answer in inference mode.")
    activations: list[str] = Field([], description="Layers with an activation.")
    dead: list[float] = Field([], description="Share of their units that give the same for all images.")
    layers: list[str] = Field([], description="Layers with weights; of many, 24 that are evenly spaced.")
    gradients: list[Figure] = Field([], description="Length of the gradient of each, for the cross-entropy alone.")
    steps: list[Figure] = Field([], description="Length of the last step as a share of the weights; empty before one.")


class EpochInside(InsideLook):
    """A look after an epoch. start: a look before the first step, with the first such look."""

    start: InsideLook | None = None
