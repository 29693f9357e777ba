"""What a spec would cost."""

from typing import Literal

from pydantic import Field

from heldout.spec import JobSpec
from heldout.views.base import View


class LayerView(View):
    """A layer by its Keras name, its output shape without the batch axis, and its parameters."""

    name: str
    shape: list[int]
    parameters: int


class EstimateView(View):
    """What a spec would cost. `name` and `training.seed` are null where a job would draw them."""

    object: Literal["estimate"]
    spec: JobSpec
    parameters: int
    layers: list[LayerView]
    flops_per_image: int = Field(description="Of one forward pass; a multiply-add counts as two.")
    memory_bytes: int = Field(description="Of one training step, data excluded.")
    seconds_per_epoch: float | None = Field(
        description="For a job that has a worker's machine to itself; null until a worker has measured its speed."
    )
