"""The table at the end of the demonstration, and what its gaps mean, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from heldout.cli.figures import NONE, accuracy, duration_s, interval, loss, points
from heldout.diagnosis.verdict_words import name_of
from heldout.statistics.intervals import newcombe_interval
from heldout.stored.final import FinalView, SplitResult
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from heldout.views.metrics import EpochView


@dataclass(frozen=True)
class Trained:
    """A job that has succeeded, with its final figures, the test split's among them."""

    job: JobView
    final: FinalView
    test: SplitResult

    @property
    def name(self) -> str:
        return self.job.name

    @property
    def gap(self) -> float:
        """Train minus test accuracy."""
        return self.final.train.accuracy - self.test.accuracy

    @property
    def gap_interval(self) -> tuple[float, float]:
        """95% bounds of the gap: the range that other samples of images would give."""
        return newcombe_interval(_counts(self.final.train), _counts(self.test))


# Short enough for all jobs side by side on a terminal of 80 columns.
HEADINGS = ("JOB", "PARAMETERS", "TRAIN", "VALIDATION", "TEST", "LOSSES", "GAP, POINTS", "SECONDS")
RIGHT = (1, 7)
# Validation accuracy lost since the best epoch, as a fraction, below which overfitting hardly matters.
NEGLIGIBLE_ACCURACY_LOSS = 0.02


def row_of(trained: Trained) -> tuple[str, ...]:
    """One job's row under HEADINGS: accuracies as fractions, 95% intervals in brackets."""
    final = trained.final
    took = duration_s(trained.job)
    validation_loss = None if final.validation is None else final.validation.loss
    losses = (final.train.loss, validation_loss, trained.test.loss)
    return (
        trained.name,
        f"{trained.job.parameters:,}",
        accuracy(final.train.accuracy),
        NONE if final.validation is None else _with_interval(final.validation),
        _with_interval(trained.test),
        "/".join(map(loss, losses)),
        f"{points(trained.gap)} {_points_interval(trained)}",
        NONE if took is None else f"{took:.1f}",
    )


def explain_gaps(jobs: Sequence[Trained]) -> list[str]:
    """Sentences that say what the gaps of these jobs show, and what they do not show."""
    images = jobs[0].test.count
    sentences = [
        "Accuracies and losses (train/validation/test) are those of the kept weights, without dropout and "
        "augmentation; the gap is train minus test accuracy. In brackets: 95% intervals; the test split has "
        f"{images:,} images."
    ]
    sentences += [_about_gap(trained) for trained in jobs]
    if len(jobs) > 1:
        sentences.append(_about_tests(jobs))
    return sentences


def verdict_of(trained: Trained, diagnosis: DiagnosisView, epochs: Sequence[EpochView]) -> str:
    """What the service says of a job and why; where it overfits, what that has cost by the end."""
    best, verdict = diagnosis.best_epoch, diagnosis.verdict
    said = f"Verdict on {trained.name}: {name_of(verdict)}."
    if verdict == "healthy":
        return said
    if verdict != "overfitting" or best is None:
        return f"{said} {diagnosis.explanation}"
    then, now = epochs[best - 1], epochs[-1]
    said += (
        f" Since epoch {best} the validation loss went from {loss(then.validation_loss)} to "
        f"{loss(now.validation_loss)}, the accuracy from {accuracy(then.validation_accuracy)} to "
        f"{accuracy(now.validation_accuracy)}"
    )
    lost = (then.validation_accuracy or 0.0) - (now.validation_accuracy or 0.0)
    if lost < NEGLIGIBLE_ACCURACY_LOSS:
        return f"{said}: on {trained.final.train.count:,} images it barely overfits: the accuracy hardly changed."
    return f"{said}."


def explain_overfitting(diagnosis: DiagnosisView, job: JobView) -> list[str]:
    """What the service says of a job that was made to overfit, and what it advises."""
    training = job.spec.training
    sentences = [
        f"{job.name}: the same network as overfit, on {training.train_limit} images for "
        f"{training.epochs} epochs. Verdict: {name_of(diagnosis.verdict)}. {diagnosis.explanation}"
    ]
    advised = [remedy for finding in diagnosis.findings[:1] for remedy in finding.remedies]
    if patches := [remedy.name.replace("_", " ") for remedy in advised if remedy.patch is not None]:
        sentences.append(f"Remedies to try, each a ready patch of the spec: {', '.join(patches)}.")
    return sentences


def _about_gap(trained: Trained) -> str:
    low, high = trained.gap_interval
    train, test = accuracy(trained.final.train.accuracy), accuracy(trained.test.accuracy)
    shown = f"{trained.name}: train {train}, test {test}"
    gap = f"a gap of {points(trained.gap)} points, interval {_points_interval(trained)}"
    count = f"{trained.test.count:,}"
    if low > 0:
        return (
            f"{shown}: {gap}. The whole interval is above 0: chance in {count} test images does not explain this gap."
        )
    if high < 0:
        return f"{shown}: {gap}. The network does better on the unseen images than on those it was trained on."
    return f"{shown}: {gap}. The interval contains 0: with {count} test images this gap cannot be told from none."


def _about_tests(jobs: Sequence[Trained]) -> str:
    """Which test result is best, as far as can be told, and whether a smaller gap went with a better one."""
    best = max(jobs, key=lambda trained: trained.test.accuracy)
    widest = max(jobs, key=lambda trained: trained.gap)
    others = [trained for trained in jobs if trained is not best]
    worse = [trained for trained in others if trained.test.interval[1] < best.test.interval[0]]
    sentences = [f"Best on the test split: {best.name}, {_with_interval(best.test)}."]
    if rivals := [trained.name for trained in others if trained not in worse]:
        sentences.append(
            f"The interval of {' and '.join(rivals)} overlaps: one run of each is too little to say which is better."
        )
    for trained in worse:
        sentences.append(f"{trained.name} is clearly worse, {_with_interval(trained.test)}.")
        if trained is not widest:
            sentences.append(f"Its gap is smaller than that of {widest.name}: a smaller gap alone is no improvement.")
    return " ".join(sentences)


def _with_interval(split: SplitResult) -> str:
    return f"{accuracy(split.accuracy)} {interval(split.interval, digits=3)}"


def _points_interval(trained: Trained) -> str:
    low, high = trained.gap_interval
    return f"[{points(low)}, {points(high)}]"


def _counts(split: SplitResult) -> tuple[int, int]:
    return round(split.accuracy * split.count), split.count
