"""How accurate the confidence of the verdicts is on some draws; as Markdown."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis.calibration import CLAIM_OF, NO_RISE, Seen, as_job
from benchmarks.diagnosis.measures import Pairs, bounds, cells, draws_of
from benchmarks.diagnosis.record import Record
from benchmarks.diagnosis.score import codes_of
from benchmarks.diagnosis.truth import Truth, truths
from heldout.diagnosis.confidence import compute_confidences
from heldout.statistics import compute_wilson_interval

BINS = 10  # of equally many verdicts
SURE = 0.9
SURE_OF_OVERFITTING = 0.8

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """is_right: None if unknown.

    of_overfitting: whether the diagnosis finds a rising loss, and whether it rises. confidence_of_overfitting: that
    this is right.
    """

    code: str
    confidence: float | None
    is_right: bool | None
    of_overfitting: tuple[bool, bool | None]
    confidence_of_overfitting: float | None


def tables(records: Sequence[Record], draws: Collection[int]) -> Iterator[str]:
    known = truths(records)
    chosen = [record for record in records if record.drawn.draw in draws]
    verdicts = [_verdict(as_job(record), known[record.drawn.key]) for record in chosen]
    judged = [verdict for verdict in verdicts if verdict.confidence is not None and verdict.is_right is not None]
    chances = np.asarray([one.confidence for one in judged], float)
    right = np.asarray([one.is_right for one in judged], float)
    without = sum(verdict.confidence is None for verdict in verdicts)
    yield (
        f"{len(chosen)} trainings of the draws {', '.join(map(str, sorted(draws)))}: {without} verdicts have no "
        f"confidence, and of {len(chosen) - without - len(judged)} others the truth is not known. These {len(judged)} "
        f"are left, of which {100 * right.mean():.1f}% are right."
    )
    yield ""
    yield "| confidence, a tenth of the verdicts each | mean confidence | right |"
    yield "|---|---|---|"
    for places in bins_of(chances):
        of_bin = chances[places]
        yield (
            f"| {of_bin.min():.3f} to {of_bin.max():.3f} | {of_bin.mean():.3f} | "
            f"{right[places].mean():.3f} ({int(right[places].sum())} of {len(places)}) |"
        )
    drawn = [calibration_error(chances[rows], right[rows]) for rows in draws_of(len(judged))]
    low, high = bounds(np.asarray(drawn))
    yield ""
    yield (
        f"The expected calibration error over {BINS} bins of equally many verdicts is "
        f"**{calibration_error(chances, right):.3f}** ({low:.3f}–{high:.3f}, 95% of verdicts drawn with replacement)."
    )
    yield ""
    yield _sure(chances, right)
    yield ""
    yield from _overfitting(verdicts)


def _verdict(seen: Seen, truth: Truth) -> Verdict:
    diagnosis, facts = seen
    is_said = "loss_rises" in codes_of(diagnosis)
    named = next(
        (finding.code for finding in diagnosis.findings if finding.code in {"overfitting", "overconfidence"}), ""
    )
    confidence = diagnosis.confidence
    return Verdict(
        diagnosis.verdict,
        confidence,
        truth.get(CLAIM_OF.get(diagnosis.verdict, diagnosis.verdict)),
        (is_said, truth["loss_rises"]),
        compute_confidences(facts).get(named if is_said else NO_RISE),
    )


def bins_of(chances: Floats) -> list[NDArray[np.int64]]:
    """The places of the verdicts in each bin, the least certain first."""
    return np.array_split(np.argsort(chances, kind="stable"), BINS)


def calibration_error(chances: Floats, right: Floats) -> float:
    """The mean over verdicts of the difference between their bin's confidence and its share of right verdicts."""
    bins = bins_of(chances)
    return float(sum(abs(chances[places].mean() - right[places].mean()) * len(places) for places in bins) / len(right))


def _sure(chances: Floats, right: Floats) -> str:
    sure = chances >= SURE
    low, high = compute_wilson_interval(int(right[sure].sum()), int(sure.sum()))
    return (
        f"Where the confidence is {SURE} or more ({100 * sure.mean():.0f}% of the verdicts), "
        f"{int(right[sure].sum())} of {sure.sum()} are right: **{100 * right[sure].mean():.1f}%** "
        f"({100 * low:.1f}–{100 * high:.1f})."
    )


def _overfitting(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Overfitting and overconfidence. Without either, the last row has the probability that no loss rises."""
    known: list[tuple[Verdict, bool]] = [
        (verdict, truth) for verdict in verdicts if (truth := verdict.of_overfitting[1]) is not None
    ]
    by_verdict = [pair for pair in known if (pair[0].confidence or 0.0) >= SURE_OF_OVERFITTING]
    by_answer = [pair for pair in known if (pair[0].confidence_of_overfitting or 0.0) >= SURE_OF_OVERFITTING]
    yield "| overfitting | trainings | precision | recall | F1 (95% interval) |"
    yield "|---|---|---|---|---|"
    for name, of_part in (
        ("all", known),
        (f"confidence of the verdict {SURE_OF_OVERFITTING} or more", by_verdict),
        (f"confidence about overfitting of {SURE_OF_OVERFITTING} or more", by_answer),
    ):
        pairs: Pairs = [(one.of_overfitting[0], truth) for one, truth in of_part]
        yield f"| {name} | {len(pairs)} ({100 * len(pairs) / len(known):.0f}%) | {cells(pairs)} |"
