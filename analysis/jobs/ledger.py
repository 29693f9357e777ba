"""What counts as a look at held-out labels, and how the count is described. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from heldout.spec.job import TrainingSpec

HELD_OUT = ("validation", "test")
# The job of a read without a job's weights: a person saw the labels themselves, or an uploaded model was measured.
NO_EPOCH = 0


class ReadKind(StrEnum):
    """The ways of looking at labels."""

    MEASURED = "measured"  # weights were compared with them, and only a person can act on the result
    SELECTED = "selected"  # weights were compared with them, and the job itself may have acted on the result
    HANDED_OUT = "handed_out"  # they were shown
    EXPERIMENT = "experiment"  # another network was trained on them, to find out whether test is of another kind


@dataclass(frozen=True)
class SplitReads:
    """How often an owner has looked at the labels of one split.

    reads: all looks. selections: those on which a job itself may have acted. handed_out: those at the labels
    themselves. jobs, models: how many jobs and uploaded models looked. experiments: how often networks of a proof were
    trained on them.
    """

    reads: int = 0
    selections: int = 0
    handed_out: int = 0
    jobs: int = 0
    models: int = 0
    experiments: int = 0


def get_validation_read(training: TrainingSpec) -> ReadKind:
    """Return how an epoch of such a training reads validation labels.

    It is a selection if the result decides how the job continues or which weights it keeps. That is so with early
    stopping, a guard that stops, and a learning rate that falls on a plateau. A guard that only warns decides nothing.
    """
    return ReadKind.SELECTED if training.chooses_by_validation else ReadKind.MEASURED


def find_training_job(job: str, continues: Sequence[Mapping[str, Any]], epoch: int) -> str:
    """Return the job whose weights are those after `epoch` of `job`.

    Args:
        continues: the jobs that it continues, oldest first, each with its own last epoch.
    """
    return next((start["job"] for start in continues if epoch <= start["epoch"]), job)


def explain_reads(split: str, images: int, counted: SplitReads, earlier: int = 0) -> str:
    """Describe the count of one split in plain words.

    Args:
        split: `validation` or `test`.
        images: how many the split has.
        earlier: looks in the earlier versions that this version was made from.
    """
    labels = f"{images:,} {split} {'label' if images == 1 else 'labels'}"
    message = f"None of your jobs has looked at the {labels} yet, and you were not shown them."
    if counted.reads > counted.experiments:
        message = f"{_describe_looks(labels, counted)} {_give_advice(split, counted)}"
    if counted.experiments:
        message += (
            f" In addition, experiments split all images again {_describe_times(counted.experiments)} and trained "
            "other networks on some of them. Their figures answer only whether these images are of another kind."
        )
    if earlier:
        before = f"In the versions that this one was made from, {split} labels"
        message += f" {before} were looked at {_describe_times(earlier)}."
    return message


def explain_fold_reads(reads: int) -> str:
    """Describe the looks of jobs with folds in plain words."""
    return (
        f"In addition, jobs with folds looked {_describe_times(reads)} at their own validation images, which are "
        "taken from training and validation images together."
    )


def _describe_looks(labels: str, counted: SplitReads) -> str:
    looks = counted.reads - counted.handed_out - counted.experiments
    shown = f"shown to you {_describe_times(counted.handed_out)}, in a preview of the dataset."
    if not looks:
        return f"None of your jobs has looked at the {labels} yet, but they were {shown}"
    who = _describe_lookers(counted)
    text = f"{who} looked at the {labels} {_describe_times(looks)}{_describe_choices(looks, counted.selections)}."
    return f"{text} They were also {shown}" if counted.handed_out else text


def _describe_lookers(counted: SplitReads) -> str:
    """Name who looked, such as `Your 3 jobs and uploaded model have`."""
    jobs = "job" if counted.jobs == 1 else f"{counted.jobs:,} jobs"
    models = "uploaded model" if counted.models == 1 else f"{counted.models:,} uploaded models"
    if not counted.models:
        return f"Your {jobs} {'has' if counted.jobs == 1 else 'have'}"
    if not counted.jobs:
        return f"Your {models} {'has' if counted.models == 1 else 'have'}"
    return f"Your {jobs} and {models} have"


def _describe_choices(looks: int, selections: int) -> str:
    if not selections:
        return ""
    which = "it" if looks == 1 else "each of these looks" if selections == looks else f"{selections:,} of these looks"
    return f"; {which} could decide how a training continued or which epoch was kept"


def _give_advice(split: str, counted: SplitReads) -> str:
    if split == "test":
        return "The more often test results guide your choices, the better they look by chance."
    if counted.selections:
        return "Results on validation look a little better than they are, because the best of them were picked."
    return "The more often validation results guide your choices, the better they look by chance."


def _describe_times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")
