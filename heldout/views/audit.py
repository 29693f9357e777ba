"""The audit of a dataset."""

from typing import Any, Literal

from pydantic import Field

from heldout.views.base import View
from heldout.views.dataset import SplitsView
from heldout.views.diagnosis import LeftOutView
from heldout.views.fixes import EffectView, ExampleView
from heldout.views.job import DatasetReference
from heldout.views.suspects import SplitLabelsView


class AuditFindingView(View):
    """A finding of the audit; `pairs` are images that belong together."""

    code: str
    severity: Literal["info", "warning", "critical"]
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: list[ExampleView]
    pairs: list[tuple[ExampleView, ExampleView]]
    fix: dict[str, Any] | None = Field(
        None, description="Body for `POST /v1/datasets/{id}/versions` that fixes it; null if no such change can."
    )
    mend: dict[str, Any] | None = Field(
        None, description="The former name of `fix`, to be removed in the next release.", deprecated=True
    )
    effect: EffectView | None = Field(
        None, description="Which images `fix` removes or changes; null without `fix`, or if files are lost."
    )


class LabelCheckView(View):
    """What the search for wrong labels found in training and validation labels. Test labels are in `/suspects`."""

    verdict: Literal["can_tell", "too_hard", "split_disagrees"]
    explanation: str
    splits: dict[str, SplitLabelsView] | None = Field(description="Null unless `verdict` is `can_tell`.")


class AuditView(View):
    """What is known about a dataset before anything is trained on it, the most serious findings first."""

    object: Literal["audit"]
    dataset: DatasetReference
    sha256: str
    splits: SplitsView
    headline: str = Field("", description="What is wrong, in at most 12 words.")
    summary: str = Field("", description="What it does and what to do next, in at most two sentences and 40 words.")
    findings: list[AuditFindingView]
    statistics: dict[str, Any] = Field(
        description="Statistics of the pixel values of each split, as fractions of the range."
    )
    checks: dict[str, Any] = Field(description="What was checked, and how.")
    labels: LabelCheckView | None = Field(None, description="Null until the search for wrong labels has run.")
    left_out: list[LeftOutView] = Field([], description="Lost or damaged files, because of which `labels` is null.")
    source: dict[str, Any] = Field(description="The upload: its format, image encodings, and how splits were made.")
