"""Prints jobs, metrics, datasets and the like as text for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from heldout.cli.figures import format_moment, format_points
from heldout.cli.screen import print_blocks, print_fields, print_table, say
from heldout.words import NONE, format_duration, format_loss, percent

if TYPE_CHECKING:
    from heldout.views.account import EventView, OwnerEventView
    from heldout.views.dataset import DatasetView, LedgerView
    from heldout.views.job import DatasetReference, EstimateView, JobView, QueueView
    from heldout.views.results import MetricsView
    from heldout.views.study import StudyView


SHOWN_CLASSES = 20
# The columns of a list of jobs that are always shown: id, name, status, epochs, best.
FEWEST_COLUMNS = 5


def show_jobs(jobs: Sequence[JobView]) -> None:
    """BEST: highest validation accuracy of any epoch. GAP: in points, to test where that was measured."""
    from heldout.words.labels import get_verdict_name

    rows = []
    for job in jobs:
        progress, summary = job.progress, job.summary
        gap, best = summary.gap and (summary.gap.test or summary.gap.validation), summary.most_accurate or summary.best
        reached = (percent(best.validation_accuracy if best else None), format_points(gap.accuracy if gap else None))
        verdict = summary.verdict and get_verdict_name(summary.verdict)
        about = (verdict, _name_reference(job.dataset), format_moment(job.created_at))
        rows.append((job.id, job.name, job.status, f"{progress.epoch}/{progress.epochs}", *reached, *about))
    headings = ("ID", "NAME", "STATUS", "EPOCH", "BEST", "GAP", "VERDICT", "DATASET", "CREATED")
    print_table(headings, rows, right=(3, 4, 5), fewest=FEWEST_COLUMNS)


def show_metrics(metrics: MetricsView) -> None:
    from heldout.documents.job import build_final

    headings = ["EPOCH", "TRAIN", "VALIDATION", "TRAIN LOSS", "VALIDATION LOSS", "FIT LOSS", "RATE", "SECONDS"]
    if any("test_accuracy" in epoch.model_fields_set for epoch in metrics.epochs):
        headings += ["TEST", "TEST LOSS"]
    rows = []
    for epoch in metrics.epochs:
        accuracies = map(percent, (epoch.train_accuracy, epoch.validation_accuracy))
        losses = map(format_loss, (epoch.train_loss, epoch.validation_loss, epoch.fit_loss))
        rate = None if epoch.learning_rate is None else f"{epoch.learning_rate:.3g}"
        took = None if epoch.seconds is None else f"{epoch.seconds:.1f}"
        row = (*accuracies, *losses, rate, took)
        rows.append((epoch.epoch, *row, percent(epoch.test_accuracy), format_loss(epoch.test_loss))[: len(headings)])
    print_table(headings, rows, right=range(len(headings)))
    if metrics.epochs and not any(epoch.measures_training for epoch in metrics.epochs):
        say("")
        say("The training split is only measured at the end: evaluation.train is final.")
    if metrics.final is not None:
        say("")
        say(f"kept weights: epoch {metrics.final.epoch}")
        print_blocks(build_final(metrics.final))


def show_events(events: Iterable[EventView] | Iterable[OwnerEventView]) -> None:
    """Print a line for each event as it arrives; events of several subjects name theirs."""
    for event in events:
        subject = getattr(event, "subject", None)
        about = f"{subject.id}  " if subject else ""
        say(
            f"{event.id:>4}  {format_moment(event.created_at)}  {event.level:<7}  {event.type:<17}  "
            f"{about}{event.message}"
        )


def show_queue(queue: QueueView) -> None:
    if queue.position is None:
        say("not queued")
        return
    start = queue.estimated_start_s
    print_fields(
        [
            ("position", str(queue.position)),
            ("ahead", str(queue.ahead)),
            ("waiting for", queue.waiting_for or NONE),
            ("starts in", format_duration(start)),
        ]
    )


def print_study(study: StudyView, *, says_more: bool = True) -> None:
    """Print what a study says. says_more: name commands that show more."""
    from heldout.documents.study import build_study  # slow to load

    print_blocks(build_study(study))
    if says_more and study.conclusion is not None and study.judge is None:
        say(f"As a picture: heldout plot {study.id}")
        say(f"The whole report, with pictures and next commands: heldout studies report {study.id} --html FILE")


def show_datasets(datasets: Sequence[DatasetView]) -> None:
    headings = ("ID", "NAME", "VERSION", "STATUS", "SHAPE", "CLASSES", "TRAIN", "VALIDATION", "TEST")
    rows = [
        (
            dataset.id,
            dataset.name,
            str(dataset.version),
            dataset.status,
            "×".join(map(str, dataset.shape)) if dataset.shape else None,
            len(dataset.classes) if dataset.classes else None,
            *(_count(dataset, split) for split in ("train", "validation", "test")),
        )
        for dataset in datasets
    ]
    print_table(headings, rows, right=(2, 5, 6, 7, 8))


def show_dataset_line(dataset: DatasetView) -> None:
    """Print a ready dataset in one line, and the names of its classes in another."""
    say(f"{dataset.name}@{dataset.version}  {dataset.id}  {_describe_size(dataset)}")
    show_classes(dataset.classes or [])


def show_classes(classes: Sequence[str]) -> None:
    """Return the first class names, which show whether a folder was mistaken for a class."""
    more = f" and {len(classes) - SHOWN_CLASSES:,} more" if len(classes) > SHOWN_CLASSES else ""
    say(f"classes: {', '.join(classes[:SHOWN_CLASSES])}{more}")


def show_ledger(ledger: LedgerView) -> None:
    """Print the counts in words and as a table, then the newest looks."""
    say(ledger.explanation)
    say("")
    splits = (("validation", ledger.splits.validation), ("test", ledger.splits.test))
    headings = ("SPLIT", "IMAGES", "LOOKS", "COULD CHOOSE", "LABELS SHOWN", "JOBS")
    rows = [(name, split.images, split.reads, split.selections, split.handed_out, split.jobs) for name, split in splits]
    print_table(headings, rows, right=range(1, 6))
    if ledger.entries.data:
        say("")
        looks = [
            (
                format_moment(read.created_at),
                read.split if read.fold is None else f"fold {read.fold}",
                read.subject.id,
                read.epoch,
                read.what.replace("_", " "),
            )
            for read in ledger.entries.data
        ]
        print_table(("WHEN", "SPLIT", "BY", "EPOCH", "WHAT"), looks, right=(3,))
    if ledger.entries.has_more:
        say("There are more looks; --limit shows up to 200.", file=sys.stderr)


def _describe_size(dataset: DatasetView) -> str:
    counts = {split: _count(dataset, split) for split in ("train", "validation", "test")}
    return format_size(dataset.shape or [], dataset.classes or [], counts)


def format_size(shape: Sequence[int], classes: Sequence[str], counts: Mapping[str, str]) -> str:
    """`28×28×1, 10 classes, 3,600 train / 400 validation / 1,000 test`; counts: formatted counts of images."""
    splits = " / ".join(f"{count} {split}" for split, count in counts.items())
    return f"{'×'.join(map(str, shape))}, {len(classes)} classes, {splits}"


def show_estimate(estimate: EstimateView) -> None:
    rows = [(layer.name, "×".join(map(str, layer.shape)), layer.parameters) for layer in estimate.layers]
    print_table(("LAYER", "SHAPE", "PARAMETERS"), rows, right=(2,))
    say("")
    per_epoch = estimate.seconds_per_epoch
    print_fields(
        [
            ("parameters", f"{estimate.parameters:,}"),
            ("operations", f"{estimate.flops_per_image:,} an image, forward"),
            ("memory", f"{estimate.memory_bytes / 2**20:.1f} MiB at most"),
            ("an epoch", "unknown before a job has run" if per_epoch is None else format_duration(per_epoch)),
        ]
    )
    if estimate.notes:
        from heldout.documents.notes import build_notes

        say("")
        print_blocks(build_notes(estimate.notes))


def _name_reference(dataset: DatasetReference) -> str:
    return f"{dataset.name}@{dataset.version}"


def _count(dataset: DatasetView, split: str) -> str:
    return NONE if dataset.splits is None else f"{getattr(dataset.splits, split).count:,}"
