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
    """Something that the audit found; `pairs` are images that belong together."""

    code: str
    severity: Literal["info", "warning", "critical"]
    numbers: dict[str, Any]
    explanation: str
    what_to_do: str
    examples: list[ExampleView]
    pairs: list[tuple[ExampleView, ExampleView]]
    fix: dict[str, Any] | None = Field(
        None, description="Body for `POST /v1/datasets/{id}/versions` that cures it; null where no such change does."
    )
    mend: dict[str, Any] | None = Field(
        None, description="The former name of `fix`, which goes with the next release.", deprecated=True
    )
    effect: EffectView | None = Field(
        None, description="Which images `fix` removes or changes; null without it, and where files of it are lost."
    )


class LabelCheckView(View):
    """What the search for wrong labels says of training and validation labels. Those of test are in `/suspects`."""

    verdict: Literal["can_tell", "too_hard", "split_disagrees"]
    explanation: str
    splits: dict[str, SplitLabelsView] | None = Field(description="Null unless `verdict` is `can_tell`.")


class AuditView(View):
    """What is known of a dataset before anything is trained on it, the most serious findings first."""

    object: Literal["audit"]
    dataset: DatasetReference
    sha256: str
    splits: SplitsView
    headline: str = Field("", description="What is wrong, in at most 12 words.")
    summary: str = Field("", description="What it does and what to do next, in at most two sentences and 40 words.")
    findings: list[AuditFindingView]
    statistics: dict[str, Any] = Field(description="Of the pixel values of each split, as fractions of the range.")
    checks: dict[str, Any] = Field(description="What was looked for, and how.")
    labels: LabelCheckView | None = Field(None, description="Null until the search for wrong labels has run.")
    left_out: list[LeftOutView] = Field([], description="Files that are lost or damaged: `labels` is null for that.")
    source: dict[str, Any] = Field(description="The upload: its format, its images' encodings, how splits came about.")
