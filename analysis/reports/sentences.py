"""The question that a study asks, and its answer in one sentence, for someone who knows no statistics."""

from collections.abc import Sequence

from analysis.reports.changes import patched
from analysis.reports.effects import accuracy_side, accuracy_told, effect_of, loss_side, loss_told, side_of
from analysis.reports.figures import OF_100_IMAGES, change
from heldout.remedy_words import named, quoted
from heldout.studies.fairness import chooses_alone
from heldout.studies.spec import BASE_ARM
from heldout.views.study import ArmView, ForecastView, NeedsView, StudyView, TestFiguresView
from heldout.views.study_report import Effect
from heldout.words import counted, percent


def question_of(study: StudyView) -> str:
    if study.kind == "learning_curve":
        return "Would more training images make the network better on images that it has not seen?"
    remedies = remedies_of(study)
    which = named(remedies) if len(remedies) == 1 else f"one of {len(remedies)} changes (remedies)"
    return f"Does {which} make the network better on images that it has not seen?"


def answer_of(study: StudyView) -> str:
    """One sentence."""
    if study.status == "failed":
        detail = "" if study.error is None else f": {study.error.detail.rstrip('.')}"
        return f"There is no answer, because the study failed{detail}."
    if study.status == "cancelled":
        return f"There is no answer, because the study was cancelled after {done_of_planned(study)}."
    if study.kind == "learning_curve":
        return _answer_of_learning_curve(study)
    if study.conclusion is None:
        return f"It is not known yet: {done_of_planned(study)} are done."
    if study.conclusion.kind == "cure":
        return _cure(study)
    if study.conclusion.kind == "nothing_helped":
        return _nothing(study)
    return _cannot_tell(study, study.conclusion.needs)


def remedies_of(study: StudyView) -> list[str]:
    return [arm.name for arm in study.arms if arm.name != BASE_ARM] or list(study.remedies)


def done_of_planned(study: StudyView) -> str:
    return f"{study.progress.done:,} of {counted(study.progress.jobs, 'training')}"


def winner_of(study: StudyView) -> ArmView | None:
    """The arm that the conclusion names."""
    remedy = None if study.conclusion is None else study.conclusion.remedy
    return next((arm for arm in study.arms if remedy is not None and arm.name == remedy), None)


def tested_of(study: StudyView, arm: ArmView) -> TestFiguresView | None:
    """The arm's figures on the test split: of the base and of the winner."""
    test = None if study.conclusion is None else study.conclusion.test
    if test is None:
        return None
    if arm is study.arms[0]:
        return test.base
    return test.winner if arm is winner_of(study) else None


def what_would_tell(needs: NeedsView | None) -> str:
    """What would make an answer possible, as a sentence without its end."""
    seeds, images = (None, None) if needs is None else (needs.seeds, needs.images)
    more_images = "" if images is None else f"about {counted(images, 'more validation image')}"
    if seeds is not None and images is not None:
        return f"only {_more_seeds(seeds)} together with {more_images} would probably tell"
    if seeds is not None:
        return f"{_more_seeds(seeds)} would probably tell"
    if images is not None:
        return f"more trainings would not help, but {more_images} would probably tell"
    return "to tell would take more trainings and validation images than is sensible"


def _more_seeds(seeds: int) -> str:
    return f"{counted(seeds, 'more training')} of each network (seeds)"


def _cure(study: StudyView) -> str:
    winner = winner_of(study)
    if winner is None or winner.difference is None:
        name = "a remedy" if study.conclusion is None else quoted(study.conclusion.remedy or "")
        return f"Yes: {name} makes it better."
    difference = winner.difference
    if accuracy_side(difference) == "better":
        return f"Yes, {quoted(winner.name)} does: {accuracy_told(difference)}."
    if loss_side(difference) == "better":
        return (
            f"Yes, {quoted(winner.name)} does: {loss_told(difference)}, which surely brings its answers nearer to the "
            f"truth; whether more of them are right is not sure: {accuracy_told(difference)}."
        )
    return f"Yes, {quoted(winner.name)} does: {accuracy_told(difference)}, and {loss_told(difference)}."


def _nothing(study: StudyView) -> str:
    remedies, worse = remedies_of(study), with_effect(study, "worse")
    if len(remedies) == 1:
        told = "makes the network worse" if worse else "does not make the network surely better"
        return f"No: {named(remedies)} {told} on unseen images{_at_most(study)}."
    if len(worse) == len(remedies):
        which = "both" if len(remedies) == 2 else f"all {len(remedies)}"
        return f"No: {which} remedies make the network worse on unseen images, in right answers or in loss."
    which = "neither of the two remedies" if len(remedies) == 2 else f"none of the {len(remedies)} remedies"
    return f"No: {which} makes the network surely better on unseen images{_at_most(study)}."


def _at_most(study: StudyView) -> str:
    """How much any remedy may bring at best, of those that are not worse: by the ranges that have decided it."""
    singly = [arm.difference.intervals for arm in study.arms if arm.difference is not None]
    harmless = [
        one.accuracy
        for one in singly
        if side_of(one.accuracy, is_rise_better=True) != "worse" and side_of(one.loss, is_rise_better=False) != "worse"
    ]
    most = max((bounds[1] for bounds in harmless if bounds is not None), default=0.0)
    return f"; at most {change(OF_100_IMAGES, most)} right answers of 100 may be gained" if most > 0 else ""


def _cannot_tell(study: StudyView, needs: NeedsView | None) -> str:
    better = with_effect(study, "better")
    why = "the differences are small beside what may be chance"
    if better:
        why = f"{named(better)} looked better, but the trainings that were to confirm it did not"
    return f"It cannot be told, because {why}; {what_would_tell(needs)}."


def _answer_of_learning_curve(study: StudyView) -> str:
    if study.forecast is not None and study.sizes:
        return _forecast(study, study.forecast)
    if study.status == "running":
        return f"It is not known yet: {done_of_planned(study)} are done."
    reason = "" if study.no_forecast is None else f": {study.no_forecast.rstrip('.')}"
    return f"It cannot be forecast{reason}."


def _forecast(study: StudyView, forecast: ForecastView) -> str:
    assert study.sizes
    now = study.sizes[-1]
    expected = f"about {percent(forecast.error)} of unseen images would be answered wrongly"
    if forecast.interval is not None:
        low, high = forecast.interval
        expected += f" (9 of 10 times, {percent(low)} to {percent(high)})"
    is_sure = forecast.interval is not None and forecast.interval[1] < now.error
    start = "Yes, very likely" if is_sure else "That is not certain"
    return (
        f"{start}: with {forecast.images:,} training images {expected}, instead of {percent(now.error)} with "
        f"{now.images:,}."
    )


def flattered(study: StudyView) -> list[str]:
    """Names of the compared arms whose epochs are chosen by the images that judge them, while the base's are not."""
    compared = [arm for arm in study.arms if arm.difference is not None]
    specs = [(arm.name, patched(study.spec, arm.patch)) for arm in compared]
    return [name for name, spec in specs if spec is not None and chooses_alone(study.spec, spec)]


def flattered_told(names: Sequence[str]) -> str:
    """What that means for their figures."""
    own = "its" if len(names) == 1 else "their"
    looks = "it looks" if len(names) == 1 else "they look"
    return (
        f"About {named(names)}: {own} epochs are chosen by the same validation images on which {own} figures are "
        f"measured, and those of the unchanged network are not. So {looks} perhaps a little better here than in truth. "
        "Test images, which have chosen nothing, are the fairer judge."
    )


def with_effect(study: StudyView, effect: Effect) -> list[str]:
    """Names of the arms that have it."""
    return [arm.name for arm in study.arms if effect_of(arm.difference) == effect]
