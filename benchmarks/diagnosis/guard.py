"""The live guard against early stopping, replayed on the stored curves: what is kept, and what it costs."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.diagnosis.record import Record
from heldout.spec import EarlyStoppingSpec
from worker.guard import GuardState, watch_epoch
from worker.stopping import StoppingState, judge_epoch

PATIENCES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20)

Replay = Callable[[Record], tuple[int, int]]  # epochs spent, epoch kept


@dataclass(frozen=True)
class Outcome:
    """Means over trainings. spent: share of the epochs; lost: the referee's loss of the kept epoch over its lowest."""

    spent: float
    lost: float
    lost_late: float  # the worst tenth


def tables(records: Sequence[Record], draws: Collection[int]) -> Iterator[str]:
    """Keras' EarlyStopping with each patience, and the guard, on every training of `draws` that did not fail."""
    chosen = [one for one in records if one.drawn.draw in draws and one.kept is not None and one.drawn.wrong < 1]
    yield f"{len(chosen)} trainings of the draws {', '.join(map(str, sorted(draws)))}."
    yield ""
    yield "| rule | epochs spent | referee's loss of the kept epoch over its lowest: mean | worst tenth begins at |"
    yield "|---|---|---|---|"
    for patience in PATIENCES:
        yield _row(f"patience {patience}", outcome(chosen, early_stopping(patience)))
    yield _row("**the guard**", outcome(chosen, guard))
    yield _row("to the end, best epoch kept", outcome(chosen, early_stopping(10_000)))
    yield _row("to the end, last epoch kept", outcome(chosen, lambda record: (_epochs(record),) * 2))


def outcome(records: Sequence[Record], replay: Replay) -> Outcome:
    spent, lost = [], []
    for record in records:
        ended, kept = replay(record)
        losses = record.referee["loss"][: _epochs(record)]
        spent.append(ended / _epochs(record))
        lost.append(losses[kept - 1] / min(losses) - 1)
    return Outcome(float(np.mean(spent)), float(np.mean(lost)), float(np.quantile(lost, 0.9)))


def early_stopping(patience: int) -> Replay:
    """Keras' EarlyStopping on the validation loss, with the weights of the best epoch restored."""
    spec = EarlyStoppingSpec.model_construct(patience=patience)

    def replay(record: Record) -> tuple[int, int]:
        state = StoppingState()
        for epoch, loss in enumerate(record.history["validation_loss"], 1):
            state = judge_epoch(spec, state, epoch, loss or 0.0)
            if state.stopped:
                return epoch, state.best_epoch
        return _epochs(record), state.best_epoch

    return replay


def guard(record: Record) -> tuple[int, int]:
    """`on_overfit: stop_and_restore`, fed epoch by epoch as the worker feeds it."""
    state = GuardState()
    pairs = zip(record.history["train_loss"], record.history["validation_loss"], strict=True)
    for epoch, (training, heldout) in enumerate(pairs, 1):
        state = watch_epoch("stop_and_restore", state, training or 0.0, heldout or 0.0)
        if state.stopped:
            return epoch, state.best_epoch
    return _epochs(record), state.best_epoch


def _epochs(record: Record) -> int:
    return len(record.history["fit_loss"])


def _row(name: str, one: Outcome) -> str:
    return f"| {name} | {100 * one.spent:.1f} % | +{100 * one.lost:.2f} % | +{100 * one.lost_late:.1f} % |"
