"""The live guard compared with early stopping, replayed on the stored curves: what is kept, and what it costs."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis.measures import bounds, draws_of
from benchmarks.diagnosis.record import Record
from heldout.spec.job import EarlyStoppingSpec
from worker.training.engine.training_policy import CURVES, GuardState, StoppingState, judge_epoch, watch_epoch

PATIENCES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)
NEVER = 10_000  # a patience that no training uses up
WORST = 0.9  # the quantile at which the worst tenth begins

Replay = Callable[[Record], tuple[int, int]]  # epochs spent, epoch kept


@dataclass(frozen=True)
class Outcome:
    """The outcomes of trainings. spent: share of the epochs; lost: the referee's loss of the kept epoch over its
    lowest.
    """

    spent: NDArray[np.float64]
    lost: NDArray[np.float64]


def tables(records: Sequence[Record], draws: Collection[int]) -> Iterator[str]:
    """Keras' EarlyStopping with each patience, and the guard, on every training of `draws` that did not fail."""
    chosen = [
        record
        for record in records
        if record.drawn.draw in draws and record.kept is not None and record.drawn.wrong < 1
    ]
    patient = [outcome(chosen, early_stopping(patience)) for patience in PATIENCES]
    guarded, best = outcome(chosen, guard), outcome(chosen, early_stopping(NEVER))
    yield f"{len(chosen)} trainings of the draws {', '.join(map(str, sorted(draws)))}."
    yield ""
    yield "| rule | epochs spent | referee's loss of the kept epoch over its lowest: mean | worst tenth begins at |"
    yield "|---|---|---|---|"
    for patience, one in zip(PATIENCES, patient, strict=True):
        yield _row(f"patience {patience}", one)
    yield _row("**the guard**", guarded)
    yield _row("to the end, best epoch kept", best)
    yield _row("to the end, last epoch kept", outcome(chosen, lambda record: (_epochs(record),) * 2))
    yield ""
    yield _from_the_line(guarded, [*patient, best])


def outcome(records: Sequence[Record], replay: Replay) -> Outcome:
    spent, lost = [], []
    for record in records:
        ended, kept = replay(record)
        losses = record.referee["loss"][: _epochs(record)]
        spent.append(ended / _epochs(record))
        lost.append(losses[kept - 1] / min(losses) - 1)
    return Outcome(np.asarray(spent), np.asarray(lost))


def _from_the_line(guarded: Outcome, patient: Sequence[Outcome]) -> str:
    """How much more the guard loses than early stopping with as many epochs, interpolated between patiences."""
    # (rules, trainings), the guard last
    spent, lost = (np.stack([getattr(one, name) for one in (*patient, guarded)]) for name in ("spent", "lost"))
    mean = _excess(spent.mean(axis=1), lost.mean(axis=1))
    worst = _excess(spent.mean(axis=1), np.quantile(lost, WORST, axis=1))
    drawn = [_excess(spent[:, rows].mean(axis=1), lost[:, rows].mean(axis=1)) for rows in draws_of(lost.shape[1])]
    low, high = bounds(np.asarray(drawn))
    return (
        "Compared with the line through the patiences, at its share of epochs, the guard loses "
        f"{100 * mean:+.2f} points in the mean ({100 * low:+.2f} to {100 * high:+.2f}, 95%) and {100 * worst:+.2f} "
        "at the worst tenth."
    )


def _excess(spent: NDArray[np.float64], lost: NDArray[np.float64]) -> float:
    """What the last rule loses beyond the line through the others, which spend increasing numbers of epochs."""
    return float(lost[-1] - np.interp(spent[-1], spent[:-1], lost[:-1]))


def early_stopping(patience: int) -> Replay:
    """Keras' EarlyStopping on the validation loss, with the weights of the best epoch restored."""
    spec = EarlyStoppingSpec.model_construct(patience=patience)

    def replay(record: Record) -> tuple[int, int]:
        state = StoppingState()
        for epoch, loss in enumerate(record.history["validation_loss"], 1):
            state = judge_epoch(spec, state, epoch, loss or 0.0, sign=1)
            if state.stopped:
                return epoch, state.best_epoch
        return _epochs(record), state.best_epoch

    return replay


def guard(record: Record) -> tuple[int, int]:
    """`on_overfit: stop_and_restore`, fed epoch by epoch as the worker feeds it."""
    state = GuardState()
    epochs = zip(*(record.history[name] for name in CURVES), strict=True)
    for epoch, figures in enumerate(epochs, 1):
        values = {name: figure or 0.0 for name, figure in zip(CURVES, figures, strict=True)}
        state = watch_epoch("stop_and_restore", state, values)
        if state.stopped:
            return epoch, state.best_epoch
    return _epochs(record), state.best_epoch


def _epochs(record: Record) -> int:
    return len(record.history["fit_loss"])


def _row(name: str, one: Outcome) -> str:
    spent, lost, worst = (100 * value for value in (one.spent.mean(), one.lost.mean(), np.quantile(one.lost, WORST)))
    return f"| {name} | {spent:.1f}% | +{lost:.2f}% | +{worst:.1f}% |"
