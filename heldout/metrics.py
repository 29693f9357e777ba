"""The metrics that can decide: what each is called, which way is better, and what it needs.

`analysis/answers/metrics.py` computes them. Both are checked against each other when that module is imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Measure = Literal[
    "accuracy", "loss", "balanced_accuracy", "macro_f1", "worst_class", "worst_group", "auroc", "top_5", "cost"
]
# Those that decide without an `objective`.
MEASURES: tuple[Measure, ...] = ("accuracy", "loss")
# What classes of very different sizes ask for, and why.
PROPOSED_OBJECTIVE = (
    "Judge by balanced accuracy (`objective: balanced_accuracy`): it counts each class the same, and accuracy hardly "
    "counts rare ones."
)
# What a group that is surely worse asks for, and why.
PROPOSED_GROUP_OBJECTIVE = (
    "Judge by the worst group (`objective: worst_group`): early stopping and a study of remedies then follow the group "
    "that is answered worst."
)
# What another network may be worse by and still be as good, if the order of a study does not say.
USUAL_MARGIN = 0.01
# With fewer images of the rarest class or the smallest group, an interval would be a guess
# (docs/measurements/objectives.md).
FEWEST_OF_RAREST = 20
SMALLEST: Mapping[str, str] = {"classes": "the rarest class", "groups": "the smallest group"}


@dataclass(frozen=True)
class Metric:
    """A figure of a split.

    name: the name that people read.
    explanation: how it is computed.
    is_share: whether it lies between 0 and 1 and more is better; otherwise less is better.
    depends_on: what has a weight of its own, each class or each group, so that few images of one blur it; None if
        nothing has.
    is_minimum: whether it is the lowest of several shares.
    needs_probabilities: whether answers alone do not give it.
    """

    name: str
    explanation: str
    is_share: bool = True
    depends_on: Literal["classes", "groups"] | None = "classes"
    is_minimum: bool = False
    needs_probabilities: bool = False


METRICS: Mapping[Measure, Metric] = {
    "accuracy": Metric("accuracy", "The share of images that are answered correctly.", depends_on=None),
    "loss": Metric(
        "loss",
        "Mean cross-entropy in nats.",
        is_share=False,
        depends_on=None,
        needs_probabilities=True,
    ),
    "balanced_accuracy": Metric(
        "balanced accuracy", "The mean of the recalls of all classes: each class counts the same."
    ),
    "macro_f1": Metric("macro F1", "The mean of the F1 scores of all classes."),
    "worst_class": Metric(
        "recall of the worst class",
        "The lowest recall of a class. It is smoothed: each class has five more images, answered as well as the "
        "average class.",
        is_minimum=True,
    ),
    "worst_group": Metric(
        "accuracy of the worst group",
        "The lowest accuracy of a group of images: those with one value of `group_column`, such as one camera. It is "
        "smoothed like that of the worst class. Images without a value do not count.",
        depends_on="groups",
        is_minimum=True,
    ),
    "auroc": Metric(
        "AUROC",
        "The area under the ROC curve, averaged over the classes. It says how often an image of a class gets a higher "
        "probability for it than another image.",
        needs_probabilities=True,
    ),
    "top_5": Metric(
        "top-5 accuracy",
        "The share of images whose label is among the five most probable classes.",
        depends_on=None,
        needs_probabilities=True,
    ),
    "cost": Metric(
        "cost",
        "The mean cost of an image by `costs`, if each gets the answer with the lowest expected cost.",
        is_share=False,
        depends_on=None,
        needs_probabilities=True,
    ),
}
if set(get_args(Measure)) != set(METRICS):
    raise TypeError("every measure needs an entry in METRICS")
