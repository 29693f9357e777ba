"""The answer of a study: a cure, nothing that helps, or why nothing can be told. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analysis.studies import wording
from analysis.studies.comparing import Comparison, compare, gain_unit
from analysis.studies.figures import difference_view, test_figures, validation_figures
from analysis.studies.needs import needs_of
from analysis.studies.racing import Look, cures, is_confirmed, surely_better
from analysis.studies.standing import MEASURES, Standing, surely_worse
from analysis.studies.state import Arm, Scores, StudyState
from heldout.remedy_words import named, quoted
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ConclusionView, StudyTestView
from heldout.words import counted, percent

# The test split is met by one remedy, in two measures.
TEST_ERROR = 0.05 / 2
# So many harmful remedies are told of with their figures.
MOST_HARMFUL = 2


@dataclass(frozen=True)
class Race:
    """How a race has ended.

    looks: the last look that each arm took part in; none where an arm has failed before the first one.
    final: the last look of all.
    ended_early: why there was no further look, where the race was not decided.
    """

    looks: Mapping[str, Look]
    final: Look
    ended_early: str | None


def conclusion_of_cure(state: StudyState, race: Race, winner: str, test: StudyTestView | None) -> ConclusionView:
    """The answer when one arm has won."""
    look = race.final
    comparison, judgement = look.comparisons[winner], look.judgements[winner]
    by_accuracy, by_loss = (wording.change(comparison, m, look.unit) for m in MEASURES)
    base, own = (validation_figures(look.scores[name], look.folds) for name in (BASE_ARM, winner))
    average = f"{by_accuracy} ({_from_to(base.accuracy, own.accuracy)}) and {by_loss}"
    sure = [wording.at_least(comparison, m, look.unit, look.error) for m in judgement.better]
    text = [
        f"{quoted(winner)} helps: on validation images {average}, on average over {look.seeds} seeds.",
        f"Allowing for chance in all comparisons of this study, {' and '.join(sure)}.",
    ]
    unsure = [m for m in MEASURES if m not in judgement.better]
    if unsure:
        text.append(f"Whether {unsure[0]} really changes is not sure.")
    if is_confirmed(look, winner):
        fresh = look.seeds - look.seeds_before
        shows = "shows" if fresh == 1 else "show"
        text.append(f"{_fresh(fresh)}, which had no part in choosing it, {shows} the same.")
    else:
        text.append("No fresh seeds have confirmed it.")
    text += [race.ended_early] if race.ended_early else []
    text += [_flattered(test)] if _arm(state, winner).chooses_alone else []
    text += _about_parts(state.arms, look, winner)
    also = [name for name in cures(look, unconfirmed=True) if name != winner]
    if also:
        text.append(f"{named(also)} {'helps' if len(also) == 1 else 'help'} too.")
    text += [
        f"{quoted(arm.name)} is not surely better than {quoted(winner)}, which is simpler."
        for arm in state.arms
        if winner in arm.parts and arm.name in also
    ]
    text.append(_about_test(state, test))
    return ConclusionView(kind="cure", remedy=winner, explanation=" ".join(text), test=test)


def conclusion_without_cure(state: StudyState, race: Race) -> ConclusionView:
    """The answer when no arm has won."""
    judged = {name: (look, look.judgements[name]) for name, look in race.looks.items()}
    undecided = (Standing.OPEN, Standing.CURE)
    open_arms = [name for name, (_, judgement) in judged.items() if judgement.standing in undecided]
    remedies = [arm.name for arm in state.arms if arm.name != BASE_ARM]
    worse = [name for name, (_, judgement) in judged.items() if judgement.standing is Standing.WORSE]
    harmful = _about_harm({name: race.looks[name] for name in worse})
    failed = [name for name in remedies if name not in judged]
    untried = [f"{named(failed)} could not be compared."] if failed else []
    if not open_arms:
        one = len(remedies) == 1
        text = [f"{quoted(remedies[0])} does not help." if one else f"{wording.none_of(len(remedies))} helps."]
        small = [name for name, (_, judgement) in judged.items() if judgement.standing is Standing.NO_HELP]
        if small:
            text.append(f"{named(small)} {'changes' if len(small) == 1 else 'change'} too little to matter.")
        return ConclusionView(kind="nothing_helped", remedy=None, explanation=" ".join([*text, *harmful, *untried]))
    best = max(open_arms, key=lambda name: (judged[name][0].comparisons[name].gain.mean, name))
    look, judgement = judged[best]
    comparison = look.comparisons[best]
    needs = needs_of(comparison, look.unit, look.last_error, state.validation_images)
    subject = quoted(remedies[0]) if len(remedies) == 1 else wording.any_of(len(remedies))
    text = [f"Cannot tell whether {subject} helps."]
    average = _on_average(best, look, alone=len(remedies) == 1)
    if judgement.standing is Standing.CURE:
        doubt = "fresh seeds do not confirm it" if look.seeds_before else "no fresh seeds have confirmed it"
        text.append(f"{average}, but {doubt}.")
    else:
        images = f"{state.validation_images:,} validation images{' each' if state.folds else ''}"
        text.append(f"{average}, which may be chance with {look.seeds} seeds and {images}.")
    text.append(wording.what_would_tell(needs))
    text += [race.ended_early] if race.ended_early else []
    return ConclusionView(
        kind="cannot_tell", remedy=None, explanation=" ".join([*text, *harmful, *untried]), needs=needs
    )


def test_view(base_jobs: Sequence[str], winner_jobs: Sequence[str], state: StudyState) -> StudyTestView | None:
    """Base and winner on the test split, all of their trainings on the same images; None without figures."""
    if state.tested is None:
        return None
    base, winner = (_test_scores(jobs, state) for jobs in (base_jobs, winner_jobs))
    comparison = _compare_on_test(base, winner)
    return StudyTestView(
        base=test_figures(base), winner=test_figures(winner), difference=difference_view(comparison, TEST_ERROR)
    )


def _compare_on_test(base: Sequence[Scores], winner: Sequence[Scores]) -> Comparison:
    return compare({"winner": winner}, base, gain_unit(base), None)["winner"]


def _test_scores(jobs: Sequence[str], state: StudyState) -> list[Scores]:
    assert state.tested is not None
    return [
        Scores(
            images=np.arange(len(state.tested.losses[job]), dtype=np.int32),
            losses=state.tested.losses[job],
            right=state.tested.right[job],
            train_loss=0.0,
            train_accuracy=0.0,
            train_images=state.train_images,
            kept_epoch=1,
        )
        for job in jobs
    ]


def _on_average(best: str, look: Look, *, alone: bool) -> str:
    """What the most promising remedy does."""
    comparison = look.comparisons[best]
    average = f"on average {wording.changes(comparison, look.unit)}"
    if alone:
        return f"O{average[1:]}"
    if comparison.gain.mean > 0:
        return f"{quoted(best)} looks best: {average}"
    return f"None looks better than the base. {quoted(best)} comes closest: {average}"


def _from_to(before: float | None, after: float | None) -> str:
    return f"from {percent(before or 0.0)} to {percent(after or 0.0)}"


def _fresh(count: int) -> str:
    return counted(count, "fresh seed")


def _arm(state: StudyState, name: str) -> Arm:
    return next(arm for arm in state.arms if arm.name == name)


def _flattered(test: StudyTestView | None) -> str:
    """Of a winner whose epochs are chosen by the images that have judged it."""
    judge = "no other images have judged it"
    if test is not None:
        judge = "test, which has chosen nothing, is the fairer judge"
    return (
        "These images have also chosen the epochs that it keeps, so it may look a little better on them than it is; "
        f"{judge}."
    )


def _about_parts(arms: Sequence[Arm], look: Look, winner: str) -> list[str]:
    parts = next(arm.parts for arm in arms if arm.name == winner)
    if not parts:
        return []
    beaten = surely_better(look, winner, parts)
    others = [part for part in parts if part not in beaten]
    return [
        *(f"It is surely better than its part {quoted(part)} alone." for part in beaten),
        *(
            f"It may be no better than its part {quoted(part)} alone, but that part alone is no sure cure."
            for part in others
        ),
    ]


def _about_harm(credibly: Mapping[str, Look]) -> list[str]:
    """The greatest harm first. That a remedy harms is said only where the interval says so that decides."""
    by_harm = sorted(credibly, key=lambda name: credibly[name].comparisons[name].gain.mean)
    sure = {name: surely_worse(credibly[name].comparisons[name], credibly[name].error) for name in by_harm}
    names = [name for name in by_harm if sure[name]]
    texts = []
    for name in names[:MOST_HARMFUL]:
        look = credibly[name]
        worse = [wording.change(look.comparisons[name], m, look.unit) for m in sure[name]]
        better = [wording.change(look.comparisons[name], m, look.unit) for m in look.judgements[name].better]
        although = f", although {' and '.join(better)}" if better else ""
        texts.append(f"{quoted(name)} makes it worse: {' and '.join(worse)}{although}.")
    if others := names[MOST_HARMFUL:]:
        texts.append(f"{named(others)} {'makes' if len(others) == 1 else 'make'} it worse too.")
    if doubtful := [name for name in by_harm if not sure[name]]:
        seems = "seems" if len(doubtful) == 1 else "seem"
        texts.append(f"{named(doubtful)} {seems} to make it worse, but not surely.")
    return texts


def _about_test(state: StudyState, test: StudyTestView | None) -> str:
    if test is None:
        if state.test_failed:
            return f"There are no figures of the test images: {state.test_failed}"
        return "There are no test images to see it on."
    accuracy = wording.change_of_accuracy(test.difference.accuracy or 0.0)
    loss = wording.change_of_loss(test.difference.loss or 0.0, test.base.loss or 1.0)
    bounds = test.difference.intervals
    by_accuracy, by_loss = bounds.accuracy or (0.0, 0.0), bounds.loss or (0.0, 0.0)
    sure = by_accuracy[0] > 0 or by_loss[1] < 0
    harmful = by_accuracy[1] < 0 or by_loss[0] > 0
    text = f"On the {test.base.count:,} test images, which nothing was chosen by, {accuracy} and {loss}"
    if harmful:
        return f"{text}: it does not hold there in full."
    return f"{text}." if sure else f"{text}, which may be chance by itself."


def gap_is_smaller(base: Sequence[Scores], runs: Sequence[Scores]) -> bool:
    """Whether an arm's accuracy falls less from training to validation than the base's, and is lower in training."""

    def gap(one: Sequence[Scores]) -> float:
        return float(np.mean([s.train_accuracy - float(s.right.mean()) for s in one]))

    def training(one: Sequence[Scores]) -> float:
        return float(np.mean([s.train_accuracy for s in one]))

    return gap(runs) < gap(base) and training(runs) < training(base)
