"""The metric that counts, as a part of specs: what follows it, the costs of answers, and the groups."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from heldout.metrics import Measure
from heldout.spec.dataset import ColumnName

MonitoredFigure = Literal["validation_loss", "validation_accuracy", "validation_objective"]


def get_followed(objective: Measure | None) -> MonitoredFigure:
    """Return the figure of an epoch that says how good it is under an objective."""
    if objective in (None, "loss"):
        return "validation_loss"
    return "validation_accuracy" if objective == "accuracy" else "validation_objective"


# Tables of costs for more classes would make specs too large.
MAX_COST_CLASSES = 100
Cost = Annotated[float, Field(ge=0, le=1e6)]
Costs = Annotated[
    Annotated[list[Annotated[list[Cost], Field(max_length=MAX_COST_CLASSES + 1)]], Field(max_length=MAX_COST_CLASSES)]
    | None,
    Field(
        description="The cost of each answer: a row for each label and a column for each answer, in the order of the "
        "dataset's classes. One more column is the cost of no answer. `cost` is then among the metrics."
    ),
]


GroupColumn = Annotated[
    ColumnName | None,
    Field(
        description="The column of the dataset, such as `camera`, whose values are the groups of `worst_group`. "
        "Numbers are put into bins. `worst_group` is then among the metrics."
    ),
]


def require_parts(objective: Measure | None, costs: Sequence[Sequence[float]] | None, group_column: str | None) -> None:
    """Refuse an objective without what it needs, and a table that cannot be one of costs. Raises ValueError."""
    if objective == "worst_group" and group_column is None:
        raise ValueError("`objective: worst_group` needs `group_column`, the column whose values are the groups")
    if costs is None:
        if objective == "cost":
            raise ValueError("`objective: cost` needs `costs`, the cost of each answer to each label")
        return
    rows, widths = len(costs), sorted({len(row) for row in costs})
    if rows < 2 or len(widths) != 1 or widths[0] not in (rows, rows + 1):
        raise PydanticCustomError(
            "value_error",
            "received {rows} rows of {widths} costs; expected a square table, or one more column for no answer",
            {"rows": rows, "widths": ", ".join(map(str, widths[:10])), "path": ("costs",)},
        )
