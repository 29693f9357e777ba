"""Experiments about how a network is trained: longer, with other steps, or with other seeds."""

from collections.abc import Sequence
from math import ceil, sqrt
from typing import Any

from heldout.proofs import thresholds
from heldout.proofs.experiment import BASE, Evidence, Experiment, Judgement, Status, Subject, Variant, conclude
from heldout.remedies.change import MAX_EPOCHS, MAX_PATIENCE_EPOCHS
from heldout.statistics import compute_t_quantile
from heldout.words import percent, pluralize
from heldout.words.proofs import UNDECIDED, describe_gain, number_word

LOW, HIGH = "rate_low", "rate_high"
RATE_FACTORS = {LOW: 0.1, HIGH: 3.0}


def _count_longer(subject: Subject) -> int:
    done, planned = max(1, subject.figures.epochs), subject.training["epochs"]
    epochs = ceil(thresholds.LONGER * (done if subject.stopped_early else planned))
    return min(MAX_EPOCHS, max(done + 1, epochs))


def _train_longer(subject: Subject) -> Sequence[Variant]:
    """Continue from the last state if it is kept; else train again with a stretched schedule and without stopping."""
    epochs = _count_longer(subject)
    if subject.counts.get("validation", 0) == 0 or epochs <= subject.figures.epochs:
        return ()
    if subject.can_continue:
        rest = epochs - subject.figures.epochs
        work = subject.estimate_work(epochs=rest)
        return (Variant("longer", {"training": {"epochs": epochs}}, work, continues=True),)
    patch: dict[str, Any] = {"epochs": epochs}
    if subject.training.get("early_stopping") is not None:
        patch["early_stopping"] = {"patience": min(MAX_PATIENCE_EPOCHS, epochs)}
    if subject.training.get("on_overfit") in {"stop", "stop_and_restore"}:
        patch["on_overfit"] = "warn"
    return (Variant("longer", {"training": patch}, subject.estimate_work(epochs=epochs)),)


def _judge_longer(subject: Subject, evidence: Evidence) -> Judgement:
    effect = evidence.compare("longer")
    more = _count_longer(subject) - subject.figures.epochs
    what = f"{number_word(more)} more {'epoch' if more == 1 else 'epochs'}"
    if effect is None:
        return Judgement("open", f"{what} could not be trained.")
    status, answers = conclude(effect, {"not_converged": "proven"}, {"not_converged": "refuted"})
    gained = describe_gain(effect.points, effect.interval)
    gained = gained.replace("gains", "gain", 1).replace("costs", "cost", 1) if more != 1 else gained
    so = {"proven": "it ended too early", "refuted": "it had ended", "open": UNDECIDED}[status]
    return Judgement(status, f"{what} {gained}: {so}.", answers, effect.points, effect.interval)


def _change_rates(subject: Subject) -> Sequence[Variant]:
    if subject.counts.get("validation", 0) == 0:
        return ()
    rate = subject.training["optimizer"]["learning_rate"]
    work = subject.estimate_work()
    return [
        Variant(key, {"training": {"optimizer": {"learning_rate": float(f"{min(1.0, rate * factor):.3g}")}}}, work)
        for key, factor in RATE_FACTORS.items()
        if rate * factor <= 1.0
    ]


def _judge_rates(subject: Subject, evidence: Evidence) -> Judgement:
    rate = subject.training["optimizer"]["learning_rate"]
    low, high = evidence.compare(LOW), evidence.compare(HIGH)
    lower = "" if low is None else f"A tenth of the learning rate {describe_gain(low.points, low.interval)}"
    higher = "" if high is None else f"Three times the learning rate {describe_gain(high.points, high.interval)}"
    if low is not None and low.is_gain():
        text = f"{lower}: {rate:g} is too high."
        return Judgement(
            "proven", text, {"diverged": "proven", "learning_rate_too_high": "proven"}, low.points, low.interval
        )
    if high is not None and high.is_gain():
        answers: dict[str, Status] = {
            **dict.fromkeys(("not_converged", "learning_rate_too_low"), "proven"),
            **dict.fromkeys(("diverged", "learning_rate_too_high"), "refuted"),
        }
        return Judgement(
            "proven", f"{higher}: with {rate:g} it learns too slowly.", answers, high.points, high.interval
        )
    both = f"{lower}, and three{higher.removeprefix('Three')}" if lower and higher else lower or higher
    if not both:
        return Judgement("open", "Neither a lower nor a higher learning rate could be trained.")
    if low is not None and low.is_no_gain() and (high is None or high.is_no_gain()):
        text = f"{both}: the learning rate is not the fault."
        answers = dict.fromkeys(("diverged", "learning_rate_too_high"), "refuted")
        return Judgement("refuted", text, answers, low.points, low.interval)
    return Judgement("open", f"{both}: {UNDECIDED}.")


def _train_again(subject: Subject) -> Sequence[Variant]:
    return [Variant(f"{BASE}+{seed}", {}, subject.estimate_work(), seed=seed) for seed in (1, 2)]


def _judge_seeds(subject: Subject, evidence: Evidence) -> Judgement:
    figures = [evidence.get(f"{BASE}{suffix}") for suffix in ("", "+1", "+2")]
    gaps = [
        found.train.accuracy - found.validation.accuracy
        for found in figures
        if found is not None and found.validation is not None
    ]
    if len(gaps) < 3:
        return Judgement("open", "Too few trainings with other seeds have ended.")
    mean = sum(gaps) / len(gaps)
    spread = sqrt(sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1))
    by = compute_t_quantile(0.975, len(gaps) - 1) * spread / sqrt(len(gaps))
    interval = (mean - by, mean + by)
    shown = ", ".join(percent(gap).removesuffix("%") for gap in gaps)
    text = f"{pluralize(len(gaps), 'seed')} of the same spec leave gaps of {shown} points"
    if interval[0] > thresholds.MIN_EFFECT:
        return Judgement("proven", f"{text}: the gap is not this training's luck.", {}, mean, interval)
    if interval[1] < thresholds.MIN_EFFECT_OF_ONE_SEED:
        answers: dict[str, Status] = {"overfitting": "refuted", "too_little_data": "refuted"}
        return Judgement("refuted", f"{text}: there is no gap that lasts.", answers, mean, interval)
    return Judgement("open", f"{text}: too different to tell.", {}, mean, interval)


LONGER = Experiment(
    "longer",
    "Longer training",
    "Would longer training help?",
    {"not_converged": 0.8, "healthy": 0.5, "underfitting": 0.2},
    _train_longer,
    _judge_longer,
    why_not="No validation images would show whether it helps, or the job already has the most epochs allowed.",
)
RATES = Experiment(
    "rates",
    "Other learning rates",
    "Is the learning rate too high or too low?",
    {
        "diverged": 0.8,
        "not_converged": 0.3,
        "underfitting": 0.3,
        "learning_rate_too_high": 0.8,
        "learning_rate_too_low": 0.5,
    },
    _change_rates,
    _judge_rates,
    why_not="No validation images would show whether it helps.",
)
SEEDS = Experiment(
    "seeds",
    "Other seeds",
    "Is a gap of this size this training's luck?",
    {"overfitting": 0.2, "too_little_data": 0.2},
    _train_again,
    _judge_seeds,
    repeats=False,
)
