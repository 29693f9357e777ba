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
    """The layers that would start from the weights of `job` or `model`, and those with new weights."""

    job: str | None = None
    model: str | None = None
    taken: list[str]
    new: list[str]


class EstimateView(View):
    """What a spec would cost. `name` and `training.seed` are null if a job would generate them."""

    object: Literal["estimate"]
    spec: JobSpec
    parameters: int
    trainable_parameters: int | None = Field(
        None, description="Excludes frozen blocks and the averages of batch normalization, as Keras counts."
    )
    layers: list[LayerView]
    initial: InitialView | None = Field(None, description="null unless the spec has `initial`.")
    flops_per_image: int = Field(description="FLOPs of one forward pass; a multiply-add counts as two.")
    memory_bytes: int = Field(
        description="Peak memory of the training process on a CPU, including images; a worker must have it free. "
        "Within 25% of measurements on CPUs. On a GPU, a worker reserves 3 GiB (an unmeasured guess) plus what images "
        "and parameters need."
    )
    seconds_per_epoch: float | None = Field(
        description="For a job that has a worker's machine to itself; null until a worker has measured its speed. "
        "With a frozen backbone it contains a share of computing its features, which the owner's later jobs find in "
        "the cache."
    )
