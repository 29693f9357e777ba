"""How well the diagnosis finds the truth about trainings of some draws, compared with simple rules; as Markdown
tables.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np

from benchmarks.diagnosis.baselines import BASELINES, LAST_OVER_MINIMUM, Baseline
from benchmarks.diagnosis.measures import Pairs, bounds, cells, f1, lead, recall, resampled
from benchmarks.diagnosis.record import Record
from benchmarks.diagnosis.rivals import RIVALS
from benchmarks.diagnosis.truth import Truth, truths
from heldout.diagnosis import Diagnosis, History, diagnose

LARGE_RISE = 0.2
OF_RISING_LOSS = {"overfitting", "overconfidence"}
FEWEST = 3  # true cases of a code for it to count in the mean


def tables(records: Sequence[Record], draws: Collection[int]) -> Iterator[str]:
    """Score the records of `draws`; the simple rules' thresholds come from earlier draws, if there are any."""
    known = truths(records)
    chosen = [record for record in records if record.drawn.draw in draws]
    earlier = [record for record in records if record.drawn.draw < min(draws)]
    yield f"{len(chosen)} trainings of the draws {', '.join(map(str, sorted(draws)))}."
    yield ""
    yield from _codes(chosen, known)
    yield ""
    yield from _rules(predicted_codes, BASELINES, earlier or chosen, chosen, known, "train_loss")
    yield ""
    yield from _other_verdicts_of_rivals(chosen, known)
    yield ""
    yield "The same trainings as histories of another program: curves of `fit` and of validation, and nothing else."
    yield ""
    yield from _rules(_predict_from_external, (LAST_OVER_MINIMUM,), earlier or chosen, chosen, known, "fit_loss")
    yield ""
    yield from _onsets(chosen, known)
    yield ""
    yield _by_rise(chosen, known)
    yield ""
    yield _without_audit(chosen, known)


def predicted_codes(record: Record, with_audit: bool = True) -> set[str]:
    """The codes that the diagnosis warns about, or `healthy`."""
    return codes_of(record.diagnosis(with_audit))


def codes_of(diagnosis: Diagnosis) -> set[str]:
    codes = {finding.code for finding in diagnosis.findings if finding.severity != "info"}
    return (codes | ({"loss_rises"} if codes & OF_RISING_LOSS else set())) or {diagnosis.verdict}


def pairs_of(said: Mapping[str, set[str]], known: Mapping[str, Truth], code: str) -> Pairs:
    """Count all trainings for which it is known whether `code` is true."""
    truth = {key: known[key][code] for key in said}
    return [(code in said[key], true) for key, true in truth.items() if true is not None]


def judged(records: Sequence[Record], known: Mapping[str, Truth]) -> list[tuple[Record, bool]]:
    """Return the trainings for which it is known whether their loss rises, and whether it does."""
    found = [(record, known[record.drawn.key]["loss_rises"]) for record in records]
    return [(record, truth) for record, truth in found if truth is not None]


def _codes(records: Sequence[Record], known: dict[str, Truth]) -> Iterator[str]:
    said = {record.drawn.key: predicted_codes(record) for record in records}
    verdicts = {record.drawn.key: record.diagnosis().verdict for record in records}
    codes = sorted({code for record in records for code in known[record.drawn.key]})
    yield "| verdict | true · false · apart | precision | recall | F1 (95% interval) |"
    yield "|---|---|---|---|---|"
    counted: list[Pairs] = []
    for code in codes:
        pairs = pairs_of(said, known, code)
        positives = sum(true for _, true in pairs)
        counts = f"{positives} · {len(pairs) - positives} · {len(said) - len(pairs)}"
        if positives < FEWEST:
            alarms = sum(one for one, _ in pairs)
            yield f"| `{code}` | {counts} | too few to say; {alarms} times said | | |"
            continue
        counted.append(pairs)
        yield f"| `{code}` | {counts} | {cells(pairs)} |"
    low, high = bounds(np.mean([resampled(pairs) for pairs in counted], axis=0))
    mean = float(np.mean([f1(pairs) for pairs in counted]))
    yield f"| mean of {len(counted)} | | | | **{mean:.3f}** ({low:.3f}–{high:.3f}) |"
    true = [known[key].get(verdict) for key, verdict in verdicts.items()]
    yield ""
    yield (
        f"The one verdict is true in {true.count(True)} trainings and false in {true.count(False)}; in the others that "
        "is open, or nothing could be found."
    )


def _rules(
    said: Callable[[Record], set[str]],
    rules: Sequence[Baseline],
    design: Sequence[Record],
    records: Sequence[Record],
    known: Mapping[str, Truth],
    training_curve: str,
) -> Iterator[str]:
    of_part = judged(records, known)
    yield "| rule for a rising loss | threshold | precision | recall | F1 (95% interval) | the diagnosis leads by |"
    yield "|---|---|---|---|---|---|"
    ours = [("loss_rises" in said(record), truth) for record, truth in of_part]
    yield f"| **the diagnosis** | | {cells(ours)} | |"
    for rule in rules:
        threshold = rule.fitted(judged(design, known))
        pairs = [(rule.score(record) > threshold, truth) for record, truth in of_part]
        yield f"| {rule.name} | {threshold:.3g} | {cells(pairs)} | {lead(ours, pairs)} |"
    for rival in RIVALS:
        pairs = [("overfitting" in rival.codes(record, training_curve), truth) for record, truth in of_part]
        yield f"| {rival.name} | | {cells(pairs)} | {lead(ours, pairs)} |"


def _other_verdicts_of_rivals(records: Sequence[Record], known: Mapping[str, Truth]) -> Iterator[str]:
    """Score the faults besides overfitting for which other programs have a name."""
    ours = {record.drawn.key: predicted_codes(record) for record in records}
    yield "| program | verdict | precision | recall | F1 (95% interval) | the diagnosis leads by |"
    yield "|---|---|---|---|---|---|"
    for rival in RIVALS:
        said = {record.drawn.key: rival.codes(record) for record in records}
        for code in sorted(rival.names.keys() - {"overfitting"}):
            pairs = pairs_of(said, known, code)
            if sum(true for _, true in pairs) >= FEWEST:
                yield f"| {rival.name} | `{code}` | {cells(pairs)} | {lead(pairs_of(ours, known, code), pairs)} |"


def _predict_from_external(record: Record) -> set[str]:
    return codes_of(diagnose(make_external_history(record)))


def make_external_history(record: Record) -> History:
    """Return the curves as another program would have recorded them."""
    known = record.curves
    return History(
        fit_loss=known.fit_loss,
        fit_accuracy=known.fit_accuracy,
        validation_loss=known.validation_loss,
        validation_accuracy=known.validation_accuracy,
    )


def _onsets(records: Sequence[Record], known: dict[str, Truth]) -> Iterator[str]:
    """For overfitting that was found: how far the referee's loss is above its lowest at the onset."""
    at_onset, at_best, at_next, ends = [], [], [], []  # excess in standard errors; the last in shares of the lowest
    for record in records:
        diagnosis = record.diagnosis()
        error = record.referee.get("lowest_error")
        if not known[record.drawn.key]["loss_rises"] or diagnosis.onset_epoch is None or error is None:
            continue
        losses = record.referee["loss"][: len(record.history["fit_loss"])]
        excess = [(loss - min(losses)) / error for loss in losses]
        assert diagnosis.best_epoch is not None
        at_onset.append(excess[diagnosis.onset_epoch - 1])
        at_best.append(excess[diagnosis.best_epoch - 1])
        at_next.append(excess[diagnosis.best_epoch])
        ends.append(losses[-1] / min(losses) - 1)
    if ends:
        shares = [f"{100 * np.mean(np.asarray(found) <= 1):.0f}%" for found in (at_onset, at_best, at_next)]
        yield (
            f"In {len(ends)} overfit trainings the referee loss is within one standard error of its lowest. It is so "
            f"in {shares[0]} at the onset, in {shares[1]} at the given best epoch, and in {shares[2]} one epoch later. "
            f"At the end, its median is {100 * np.median(ends):.0f}% above its lowest."
        )


def _by_rise(records: Sequence[Record], known: dict[str, Truth]) -> str:
    """Count the overfit trainings that are found, by how far the referee's loss ends above its lowest."""
    found: dict[bool, list[bool]] = {True: [], False: []}
    for record in records:
        if known[record.drawn.key]["loss_rises"]:
            losses = record.referee["loss"][: len(record.history["fit_loss"])]
            found[losses[-1] >= (1 + LARGE_RISE) * min(losses)].append("loss_rises" in predicted_codes(record))
    large, small = found[True], found[False]
    return (
        f"Among the overfit trainings whose referee's loss ends {100 * LARGE_RISE:.0f}% or more above its lowest, "
        f"{sum(large)} of {len(large)} are found; of the others {sum(small)} of {len(small)}."
    )


def _without_audit(records: Sequence[Record], known: dict[str, Truth]) -> str:
    """Bundled datasets have no audit: what the counts of the splits alone tell."""
    said = {record.drawn.key: predicted_codes(record, with_audit=False) for record in records}
    scores = []
    for code in ("leakage", "split_shift", "label_order_mismatch", "class_imbalance"):
        pairs = pairs_of(said, known, code)
        scores.append(f"`{code}` {f1(pairs):.2f} (recall {recall(pairs):.2f})")
    return f"Without an audit, from the counts of the splits, F1 is: {', '.join(scores)}."
