"""What a spec would cost."""

from typing import Literal

from pydantic import Field

from heldout.spec.job import JobSpec
from heldout.views.base import View


class LayerView(View):
    """A layer by its Keras name, its output shape without the batch axis, and its parameters."""

    name: str
    shape: list[int]
    parameters: int


class InitialView(View):
    """The layers that would start from the weights of `job` or `model`, and those that would start anew."""

    job: str | None = None
    model: str | None = None
    taken: list[str]
    new: list[str]


class EstimateView(View):
    """What a spec would cost. `name` and `training.seed` are null where a job would draw them."""

    object: Literal["estimate"]
    spec: JobSpec
    parameters: int
    trainable_parameters: int | None = Field(
        None, description="Without those of frozen blocks and the averages of batch normalization, as Keras counts."
    )
    layers: list[LayerView]
    initial: InitialView | None = Field(None, description="null unless the spec has `initial`.")
    flops_per_image: int = Field(description="Of one forward pass; a multiply-add counts as two.")
    memory_bytes: int = Field(
        description="The most that the training's process has at once, images included, on a processor; a worker must "
        "have it free. Within 25% of what was measured there. On a GPU it was not measured: a worker then reserves "
        "3 GiB and what images and parameters take, of which the 3 GiB are a guess."
    )
    seconds_per_epoch: float | None = Field(
        description="For a job that has a worker's machine to itself; null until a worker has measured its speed."
    )
