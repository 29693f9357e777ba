"""Findings about what happens inside a network."""

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import Curve
from heldout.statistics import compute_newcombe_interval
from heldout.words import percent, pluralize


def find_lagging_averages(facts: Facts) -> Finding | None:
    """Report that training images are answered much worse after training than during it, with batch normalization."""
    base, history, train = facts.base, facts.curves.history, facts.train
    fit, measured = (_get_kept(curve, facts) for curve in (history.fit_accuracy, history.train_accuracy))
    if base is None or not base.normalizes or train is None or fit is None or measured is None:
        return None
    counts = (round(fit * train.count), train.count), (round(measured * train.count), train.count)
    if compute_newcombe_interval(*counts)[0] < thresholds.MIN_LAG:
        return None
    momentum = (base.training.get("batch_norm") or {}).get("momentum")
    steps = facts.curves.epochs * -(-train.count // base.training["batch_size"])
    return Finding(
        "evaluation_lags",
        "critical",
        f"During its last epoch, the network answered {percent(fit)} of its training images correctly "
        f"(`fit_accuracy`). Measured after it, {percent(measured)} of the same images are right. In training, batch "
        "normalization uses the mean and the variance of each batch; afterwards it uses averages over earlier steps. "
        f"After {pluralize(steps, 'step')} these averages still lag behind the weights. What the network learned is "
        "fine: recompute the averages, or let them follow faster.",
        {
            "fit_accuracy": fit,
            "train_accuracy": measured,
            "steps": steps,
            **({} if momentum is None else {"momentum": momentum}),
        },
        remedies.suggest(base, "recount_batch_norm", "batch_norm_momentum", "more_epochs"),
    )


def _get_kept(curve: Curve, facts: Facts) -> float | None:
    """The value in the epoch whose weights were kept, or else in the last one."""
    numbers = list(facts.curves.epoch_numbers)
    place = numbers.index(facts.kept_epoch) if facts.kept_epoch in numbers else len(curve) - 1
    return curve[place] if 0 <= place < len(curve) else None
