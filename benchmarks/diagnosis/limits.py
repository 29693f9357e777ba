"""How much better overfitting could be told from these curves, and how often flat curves are taken for it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.diagnosis.baselines import LAST_OVER_MINIMUM, Judged
from benchmarks.diagnosis.measures import Pairs, cells
from benchmarks.diagnosis.record import Record
from benchmarks.diagnosis.score import codes_of, judged, predicted_codes
from benchmarks.diagnosis.truth import truths
from heldout.diagnosis import History, diagnose
from heldout.diagnosis.course import course_of, level_at_end
from heldout.diagnosis.noise import noise_of

Places = NDArray[np.int64]

FOLDS, CUTS = 5, 4
CURVES = 500
LENGTHS = (30, 60)
NOISES = (0.01, 0.03, 0.1)  # standard deviation of the validation loss, whose level is 1
HALVINGS = (5, 20)  # epochs in which the training loss becomes half of itself
UNTRAINED = log(10)
MEMORY = 0.5  # what is left of an epoch's noise in the next one


def tables(records: Sequence[Record]) -> Iterator[str]:
    known = judged(records, truths(records))
    yield f"{len(known)} trainings of all draws of which it is known whether they are overfit."
    yield ""
    yield from _told_by(known)
    yield ""
    yield from _false_alarms()


def _told_by(known: Judged) -> Iterator[str]:
    """The rules, which were set on most of these trainings, beside what is learned from some and tried on others."""
    seen = np.asarray([figures(record) for record, _ in known])
    truth = np.asarray([is_overfit for _, is_overfit in known])

    def by(model: RandomForestClassifier | GradientBoostingClassifier) -> Pairs:
        def chance(learned: Places, tried: Places) -> NDArray[np.float64]:
            found: NDArray[np.float64] = model.fit(seen[learned], truth[learned]).predict_proba(seen[tried])
            return found[:, 1]

        return _cross_validated(known, chance)

    def by_rise(learned: Places, tried: Places) -> NDArray[np.float64]:
        threshold = LAST_OVER_MINIMUM.fitted([known[place] for place in learned])
        return np.asarray([float(LAST_OVER_MINIMUM.score(known[place][0]) > threshold) for place in tried])

    forest = RandomForestClassifier(500, min_samples_leaf=2, random_state=0)
    trees = GradientBoostingClassifier(n_estimators=200, subsample=0.7, random_state=0)
    yield "| what tells overfitting | precision | recall | F1 (95% interval) |"
    yield "|---|---|---|---|"
    yield f"| **the diagnosis** | {cells(_said(known, predicted_codes))} |"
    by_referee = cells(_said(known, _predicted_from_referee))
    yield f"| the diagnosis, given the referee's losses for validation's | {by_referee} |"
    yield f"| random forest on {seen.shape[1]} figures of the curves | {cells(by(forest))} |"
    yield f"| boosted trees on {seen.shape[1]} figures of the curves | {cells(by(trees))} |"
    yield f"| {LAST_OVER_MINIMUM.name} | {cells(_cross_validated(known, by_rise))} |"
    yield ""
    yield (
        f"The last three in cross-validation with {FOLDS} folds, the mean of {CUTS} cuts; trainings of one condition "
        "are in one fold."
    )


def _said(known: Judged, said: Callable[[Record], set[str]]) -> Pairs:
    return [("loss_rises" in said(record), truth) for record, truth in known]


def _predicted_from_referee(record: Record) -> set[str]:
    losses = tuple(record.referee["loss"][: len(record.history["validation_loss"])])
    return codes_of(diagnose(replace(record.curves, validation_loss=losses), None, record.evaluation))


def figures(record: Record) -> list[float]:
    """What the losses of validation (also beside training's) look like, whatever their scale."""
    heldout, training = (np.asarray(record.history[name], float) for name in ("validation_loss", "train_loss"))
    course = course_of(heldout.tolist(), has_zero=True)
    best, after = course.best, heldout[course.best + 1 :]
    own = noise_of(heldout.tolist(), training.tolist())  # what training does not share
    width = max(1, len(heldout) // 4)
    quarters = np.lib.stride_tricks.sliding_window_view(heldout, width).mean(axis=1)
    lag = float(quarters[-1] - np.min(quarters))
    return [
        course.rise / course.lowest,
        _share(course.rise, course.descent),
        course.noise / course.lowest,
        own / course.lowest,
        _share(course.rise, course.noise),
        lag / course.lowest,
        _share(lag, own * sqrt(2 / width)),
        heldout[-1] / heldout[best] - 1,
        float(len(after)),
        len(after) / len(heldout),
        float(np.nan_to_num(kendalltau(np.arange(len(after)), after).statistic)) if len(after) > 1 else 0.0,
        1 - _share(level_at_end(training.tolist()), training[best]),
        _share(heldout[-1], training[-1]),
        float(np.nan_to_num(spearmanr(training, heldout).statistic)),
    ]


def _share(value: float, of: float, most: float = 100.0) -> float:
    """Within bounds, since a curve may have no noise and a training loss may be next to nothing."""
    return float(np.clip(value / of, -most, most)) if of > 0 else float(np.sign(value)) * most


def _cross_validated(known: Judged, chance: Callable[[Places, Places], NDArray[np.float64]]) -> Pairs:
    """What is said of each training by what never saw it, nor any that differs in nothing but seed and test split.

    chance: of the trainings at the second places to be overfit, by what is learned from those at the first. Its mean
    over several cuts counts, since one cut moves F1 by a hundredth.
    """
    truth = [is_overfit for _, is_overfit in known]
    conditions = [record.drawn.trained for record, _ in known]
    groups = [conditions.index(condition) for condition in conditions]
    chances = np.zeros(len(known))
    for cut in range(CUTS):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=cut)
        for learned, tried in folds.split(groups, truth, groups):
            chances[tried] += chance(learned, tried) / CUTS
    return [(bool(one > 0.5), is_overfit) for one, is_overfit in zip(chances, truth, strict=True)]


def _false_alarms() -> Iterator[str]:
    """Where validation gets neither better nor worse, all that is called overfitting is a false alarm."""
    yield (
        f"Of {CURVES} flat validation curves each, whose noise training does not share, while training falls, so many "
        "are taken for overfitting:"
    )
    yield ""
    yield f"| epochs | noise | training loss halves in | independent noise | autocorrelated noise ({MEMORY}) |"
    yield "|---|---|---|---|---|"
    for length in LENGTHS:
        every = []
        for noise, halving in product(NOISES, HALVINGS):
            every.append([_alarms(length, noise, halving, memory) for memory in (0.0, MEMORY)])
            yield f"| {length} | {100 * noise:.0f}% | {halving} epochs | {_percent(every[-1])} |"
        yield f"| {length} | all | | {_percent(np.mean(every, axis=0))} |"


def _percent(shares: Iterable[float]) -> str:
    return " | ".join(f"{100 * share:.1f}%" for share in shares)


def _alarms(length: int, noise: float, halving: int, memory: float) -> float:
    """The share of flat curves that are taken for overfitting."""
    training = tuple((UNTRAINED * 0.5 ** (np.arange(length) / halving)).tolist())
    draw = np.random.default_rng([length, round(1000 * noise), halving]).normal(size=(CURVES, length))
    for epoch in range(1, length):
        draw[:, epoch] = memory * draw[:, epoch - 1] + sqrt(1 - memory**2) * draw[:, epoch]
    curves = (1 + noise * draw).tolist()
    found = [diagnose(History(train_loss=training, validation_loss=tuple(curve))) for curve in curves]
    return float(np.mean(["loss_rises" in codes_of(one) for one in found]))
