"""Uploaded models."""

from typing import Literal

from pydantic import Field

from heldout.lifecycle.model import ModelFormat, ModelStatus
from heldout.markup import make_table
from heldout.views.base import Time, View
from heldout.views.page import Page


class ModelLayerView(View):
    """A layer with weights, and the shapes of these weights in order."""

    name: str
    type: str
    weights: list[list[int]]


class ModelErrorView(View):
    """Why a model was rejected."""

    code: str
    detail: str


class ModelView(View):
    """An uploaded model. What its file says is null until it is ready."""

    id: str
    object: Literal["model"]
    name: str
    status: ModelStatus
    format: ModelFormat | None
    input_shape: list[int | None] | None = Field(
        description="Height, width and channels, whatever order the model itself uses; null means any size."
    )
    output_shape: list[int | None] | None = Field(description="Without the batch axis.")
    gives: Literal["answers", "feature_map"] | None = Field(
        description="`answers`: one figure per class, so the model can be evaluated."
    )
    classes: int | None = Field(description="Number of classes; null for a feature map.")
    parameters: int | None
    trainable_parameters: int | None = Field(description="Null for ONNX, which does not say.")
    weights: bool | None = Field(description="False for an architecture alone, which can be trained but not evaluated.")
    layers: list[ModelLayerView] | None = Field(
        description="Layers with weights; only the first ones if all take more than 128 KiB. Null in lists."
    )
    shared: bool = Field(description="Whether the operator shares it with all owners. It can be used, but not deleted.")
    license: str | None = Field(description="The license of a shared model.")
    source: str | None = Field(description="Where a shared model is from.")
    made_by: str | None = Field(description="The program that wrote the file.")
    size_bytes: int
    sha256: str
    error: ModelErrorView | None
    created_at: Time

    @property
    def has_ended(self) -> bool:
        """Whether the check has ended and the model no longer changes."""
        return self.status is not ModelStatus.CHECKING

    def _repr_html_(self) -> str:
        rows = [("status", self.status.value)]
        if self.input_shape is not None and self.output_shape is not None:
            sizes = ("×".join("any" if size is None else str(size) for size in self.input_shape), self.parameters or 0)
            rows.append(("takes", f"{sizes[0]}, {sizes[1]:,} parameters"))
        if self.error is not None:
            rows.append(("error", f"{self.error.code}: {self.error.detail}"))
        return make_table(f"{self.name} ({self.id})", rows)


class ModelPage(Page[ModelView]):
    """A page of the caller's and of shared models, newest first; `next` is the `after` of the next page."""
