"""Headline and summary of a study: what helps, by how much, and what to do now."""

from heldout.remedy_words import words_of
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmView, ConclusionView, StudyView
from heldout.words import whole_percents

# A client may have given a patch any name.
_MOST_WORDS, _MOST_CHARACTERS = 6, 48


def describe_study(study: StudyView) -> tuple[str, str]:
    """The headline and the summary of a study or a learning curve, also while it runs."""
    done = f"{study.progress.done:,} of {study.progress.jobs:,} trainings are done."
    if study.status == "failed":
        return "The study failed.", "There is no answer. Fix what the error says and order the study again."
    if study.status == "cancelled":
        return "The study was cancelled.", f"There is no answer: {done} Order it again if you need one."
    if study.kind == "learning_curve":
        return _learning_curve(study, done)
    if study.conclusion is None:
        if study.waits_for is not None:
            return "The study has not started.", "It begins by itself when its data are ready. There is nothing to do."
        return "The study is still running.", f"{done} Wait for the answer."
    if study.conclusion.kind == "cure":
        return _cure(study, study.conclusion)
    return _no_cure(study, study.conclusion)


def _cure(study: StudyView, conclusion: ConclusionView) -> tuple[str, str]:
    winner = next((arm for arm in study.arms if arm.name == conclusion.remedy), None)
    effect = "" if winner is None else _effect_of(winner)
    action = "Train with it from now on." if conclusion.refit is None else "Use the final model, trained with it."
    return f"{_name_of(conclusion.remedy or '')} helps.", f"{effect} {action}".strip()


def _effect_of(winner: ArmView) -> str:
    """On validation images: accuracy where that is surely better, else loss."""
    difference, now = winner.difference, winner.validation
    if difference is None or now is None:
        return ""
    bounds = difference.adjusted_intervals
    if now.accuracy is not None and difference.accuracy is not None and _is_above_0(bounds.accuracy):
        after, before = whole_percents(now.accuracy, now.accuracy - difference.accuracy)
        return f"Validation accuracy is {after} instead of {before}."
    if now.loss is not None and difference.loss is not None:
        return f"Validation loss is {now.loss:.3f} instead of {now.loss - difference.loss:.3f}."
    return ""


def _is_above_0(bounds: tuple[float, float] | None) -> bool:
    return bounds is not None and bounds[0] > 0


def _no_cure(study: StudyView, conclusion: ConclusionView) -> tuple[str, str]:
    remedies = [arm.name for arm in study.arms if arm.name != BASE_ARM] or list(study.remedies)
    if conclusion.kind == "nothing_helped":
        headline = f"{_name_of(remedies[0])} does not help."
        if len(remedies) > 1:
            headline = f"{'Neither' if len(remedies) == 2 else 'None'} of the {len(remedies)} remedies helps."
        return headline, (
            f"{'Each' if len(remedies) > 1 else 'It'} makes the network worse or gains too little to matter. Keep the "
            "network, and measure whether more training images would help."
        )
    needs = conclusion.needs
    seeds, images = (None, None) if needs is None else (needs.seeds, needs.images)
    action = "Keep the network for now, and try other remedies or more training images."
    if seeds is not None and images is not None:
        action = f"Run it again with {seeds:,} more seeds and about {images:,} more validation images."
    elif seeds is not None:
        action = f"Run it again with {seeds:,} more seeds."
    elif images is not None:
        action = f"Add about {images:,} validation images and run it again."
    return "The study cannot tell what helps.", f"The differences are small enough to be chance. {action}"


def _learning_curve(study: StudyView, done: str) -> tuple[str, str]:
    forecast, sizes = study.forecast, study.sizes
    if forecast is None or not sizes:
        if study.status == "running":
            return "The study is still running.", f"{done} Wait for the forecast."
        return (
            "The learning curve gives no forecast.",
            "What more images would bring is not known from these trainings. Try remedies before you collect more.",
        )
    now = sizes[-1]
    after, before = whole_percents(forecast.error, now.error)
    effect = (
        f"With {forecast.images:,} training images about {after} of answers would be wrong, instead of {before} with "
        f"{now.images:,}."
    )
    if forecast.interval is not None and forecast.interval[1] < now.error:
        return "More training images would help.", f"{effect} Collect more training images."
    return "More training images may not help.", f"{effect} Try remedies before you collect more."


def _name_of(remedy: str) -> str:
    """Its words, with a capital letter; a long combination is only called one."""
    words = words_of(remedy)
    if not words or len(words.split()) > _MOST_WORDS or len(words) > _MOST_CHARACTERS:
        return "A combination of remedies" if "+" in remedy else "One remedy"
    return words[0].upper() + words[1:]
