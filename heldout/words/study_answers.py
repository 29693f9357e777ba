"""A study's question, headline and summary, and the questions that readers ask next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import format_duration, percent, pluralize, whole_percents
from heldout.words.as_good import describe_answer
from heldout.words.as_good import phrase_question as phrase_as_good
from heldout.words.changes import format_measure
from heldout.words.judging import describe_judge
from heldout.words.labels import describe_remedy, join_remedies, name_measure, say_helps
from heldout.words.studies import MIN_GAP, describe_needs

if TYPE_CHECKING:
    from heldout.views.study import ArmView, ConclusionView, StudyView

# Limits for remedies in headlines: clients may give a patch any name.
_MOST_WORDS, _MOST_CHARACTERS = 6, 48
_WAIT = "Wait for the end of the study."
_KEEP_RUNNING = "It continues while your script runs."


def phrase_question(study: StudyView) -> str:
    """Return the question that a study answers."""
    if study.kind == "judge":
        return "Is a candidate surely better than the best so far, on labels that no one but the judge sees?"
    if study.kind == "learning_curve":
        return "Would more training images make the network better on images it has not seen?"
    remedies = _list_remedies(study)
    which = join_remedies(remedies) if len(remedies) == 1 else f"one of {len(remedies)} changes (remedies)"
    if study.margin is not None:
        return phrase_as_good(study, which)
    what = (
        "make the network better"
        if study.objective is None
        else f"improve the network's {name_measure(study.objective)}"
    )
    return f"Does {which} {what} on images it has not seen?"


def describe_study(study: StudyView) -> tuple[str, str]:
    """The headline and the summary of a study or a learning curve, also while it runs."""
    if study.status == "failed":
        return "The study failed.", f"There is no answer. {_say_next(study)}"
    if study.status == "cancelled":
        return "The study was cancelled.", f"There is no answer: {say_done(study)}. {_say_next(study)}"
    if study.conclusion is None and study.waits_for is not None:
        return (
            "The study has not started.",
            "It starts by itself when its data are ready. You do not have to do anything.",
        )
    if study.judge is not None:
        return describe_judge(study.judge, study.conclusion)
    if study.status == "running":
        return "The study is still running.", f"{say_done(study)}. {_say_next(study)}"
    if study.kind == "learning_curve":
        return _describe_curve(study)
    if study.kind == "recorded" and study.conclusion is not None:
        return _describe_recorded(study, study.conclusion)
    if study.margin is not None and study.conclusion is not None:
        name = _get_name(study.conclusion.remedy or _list_remedies(study)[0])
        return describe_answer(study, name, _say_next(study))
    if study.conclusion is None or study.conclusion.kind == "cannot_tell":
        yet = "yet " if study.can_continue else ""
        return (
            f"The study cannot tell {yet}what {say_helps(study.objective)}.",
            f"The differences may be chance. {_say_next(study)}",
        )
    if study.conclusion.kind == "cure":
        effect = "" if study.winner is None else _describe_effect(study.winner)
        name = _get_name(study.conclusion.remedy or "")
        helps = say_helps(study.objective, is_plural=_is_plural(name))
        return f"{name} {helps}.", f"{effect} {_say_next(study)}".strip()
    remedies = [arm.name for arm in study.arms[1:] if arm.difference is not None]
    name = _get_name(remedies[0])
    helps = say_helps(study.objective, is_plural=_is_plural(name), negated=True)
    headline, each = f"{name} {helps}.", "It"
    if len(remedies) > 1:
        which = f"{'Neither' if len(remedies) == 2 else 'None'} of the {len(remedies)} remedies"
        headline, each = f"{which} {say_helps(study.objective)}.", "Each"
    what = "the network" if study.objective is None else name_measure(study.objective)
    if len(study.find_arms("worse")) == len(remedies):
        return headline, f"{each} makes {what} worse. {_say_next(study)}"
    return headline, f"{each} probably makes {what} worse or gains too little to matter. {_say_next(study)}"


def _describe_recorded(study: StudyView, conclusion: ConclusionView) -> tuple[str, str]:
    remedies = _list_remedies(study)
    name = _get_name(conclusion.remedy or remedies[0])
    verb = "are" if _is_plural(name) else "is"
    by = "" if study.objective is None else f" by {name_measure(study.objective)}"
    if conclusion.kind in ("cure", "better"):
        effect = "" if study.winner is None else _describe_effect(study.winner, study.metric)
        headline = f"{name} {verb} better than the base{by}"
        headline += ", and confirmed." if conclusion.kind == "cure" else ", but not confirmed."
        return headline, f"{effect} {_say_next(study)}".strip()
    if conclusion.kind == "worse":
        which = f"{name} {verb}" if len(remedies) == 1 else "Every arm is"
        headline = f"{which} worse than the base{by}."
        return headline, _say_next(study)
    chance = "" if conclusion.needs is None else "The differences may be chance. "
    return f"These runs cannot tell which arm is better{by}.", f"{chance}{_say_next(study)}"


def _describe_curve(study: StudyView) -> tuple[str, str]:
    forecast, sizes = study.forecast, study.sizes
    if forecast is None or not sizes:
        why = "These trainings do not show what more images would bring."
        return "The learning curve gives no forecast.", f"{why} {_say_next(study)}"
    now = sizes[-1]
    if study.objective in (None, "accuracy"):
        after, before = whole_percents(forecast.error, now.error)
        expected = f"about {after} of answers would be wrong"
    else:
        after, before = whole_percents(1 - forecast.error, 1 - now.error)
        expected = f"{name_measure(study.objective)} would be about {after}"
    effect = f"With {forecast.images:,} training images, {expected}, instead of {before} with {now.images:,}."
    headline = "More training images would help." if _is_fall_sure(study) else "More training images may not help."
    return headline, f"{effect} {_say_next(study)}"


def _is_fall_sure(study: StudyView) -> bool:
    forecast, sizes = study.forecast, study.sizes
    return bool(forecast and sizes and forecast.interval and forecast.interval[1] < sizes[-1].error)


def _say_next(study: StudyView) -> str:
    """Say what to do now."""
    if study.status == "running":
        return _KEEP_RUNNING if study.kind == "external" else _WAIT
    if study.status != "succeeded":
        fix = "Fix what the error says and start the study again."
        return fix if study.status == "failed" else "Start it again if you need one."
    if study.kind == "learning_curve":
        if _is_fall_sure(study):
            return "Collect more training images."
        return "Try remedies before you collect more."
    if study.can_continue:
        return _say_ways_on(study)
    if study.conclusion is None or study.conclusion.kind == "cannot_tell":
        if study.kind == "recorded" and study.conclusion is not None and study.conclusion.needs is None:
            return "Any benefit is probably too small to matter: keep the base."
        return describe_needs(None if study.conclusion is None else study.conclusion.needs)
    if study.conclusion.kind == "nothing_helped":
        return "Keep the network, and measure whether more training images would help."
    if study.conclusion.kind == "better":
        return "Train both with fresh seeds to confirm it: `heldout cure --run` does."
    if study.conclusion.kind == "worse":
        return "Keep the base."
    if study.conclusion.kind == "as_good":
        return "Use it instead." if study.conclusion.refit is None else "Use the final model, trained with it."
    return "Train with it from now on." if study.conclusion.refit is None else "Use the final model, trained with it."


def _say_ways_on(study: StudyView) -> str:
    """Say what continuing the study adds."""
    left = len(study.left_out)
    more = "one remedy" if left == 1 else f"{left} remedies"
    if study.conclusion is None or not study.conclusion.undecided:
        return f"Continue it with the {more} not tried yet."
    return f"Continue it: that adds seeds{f' and {more} not tried yet' if study.left_out else ''}."


def explain_base_ensemble(study: StudyView) -> str | None:
    """Say that the base, averaged over its seeds, is right more often than the winner; None if it is not.

    Test figures are compared where there are any, else those of validation.
    """
    winner, ensemble, conclusion = study.winner, study.ensemble, study.conclusion
    if winner is None or ensemble is None or conclusion is None:
        return None
    has_test = conclusion.test is not None and ensemble.base.test is not None
    together = ensemble.base.test if has_test else ensemble.base.validation
    alone = conclusion.test.winner if has_test and conclusion.test is not None else winner.validation
    if together is None or together.accuracy is None or alone is None or alone.accuracy is None:
        return None
    if together.accuracy - alone.accuracy < MIN_GAP:
        return None
    bounds, members = together.intervals.accuracy, ensemble.base.members
    doubt = " The difference may be chance." if bounds is not None and bounds[0] <= alone.accuracy else ""
    return (
        f"{members} networks of the base together (an ensemble) get {percent(together.accuracy)} of "
        f"{'test' if has_test else 'validation'} images right, more than one network with "
        f"{describe_remedy(winner.name)} ({percent(alone.accuracy)}). They need {members} times the computing for each "
        f"answer.{doubt}"
    )


def say_model(conclusion: ConclusionView) -> str:
    """Name the model to deploy."""
    return (
        f"The final model is `{conclusion.refit}`. It also trains on the validation images, so it has no validation "
        "figures of its own."
    )


def say_done(study: StudyView) -> str:
    return f"{study.progress.done:,} of {pluralize(study.progress.jobs, 'training')} are done"


def answer_questions(study: StudyView) -> list[tuple[str, str]]:
    """Questions with their answers, in the order in which readers ask them."""
    conclusion = study.conclusion
    answers = []
    if study.kind != "learning_curve":
        question = "What helped, and by how much?" if study.margin is None else "Which are as good?"
        answers.append((question, _describe_what_helped(study)))
        if conclusion is not None and conclusion.gap is not None:
            answers.append(("How much of the gap is closed?", conclusion.gap.explanation))
        if study.ensemble is not None and study.ensemble.explanation:
            answers.append(("Is there anything better?", study.ensemble.explanation))
        answers.append(("Were test images used to choose?", _say_test_use(study)))
    elif forecast := study.no_forecast or (study.forecast and study.forecast.explanation):
        answers.append(("What will more images bring?", forecast))
    now = _say_next(study)
    if conclusion is not None and conclusion.refit is not None:
        now += f" {say_model(conclusion)}"
    return [*answers, ("What should I do now?", now), ("What did it cost?", say_cost(study))]


def _describe_what_helped(study: StudyView) -> str:
    if study.conclusion is not None:
        return study.conclusion.explanation
    if not any(arm.difference for arm in study.arms):
        return "Nothing has been compared."
    better = study.find_arms("better")
    if not better:
        return "Nothing is clearly better than the base so far."
    return f"So far clearly better than the base: {join_remedies(better)}."


def _say_test_use(study: StudyView) -> str:
    if study.kind == "recorded" and study.metric is not None:
        return "Heldout cannot know: it got final figures only."
    if study.kind in ("external", "recorded"):
        when = "opened once, after the choice" if study.ledger.test_reads else "not opened"
        return (
            f"Not by Heldout: reported answers to test images stay sealed, and were {when}. The script itself could "
            "have looked at them."
        )
    if study.ledger.test_reads:
        return "No. Everything was chosen on validation images. Test images were looked at only after the choice."
    return "No. Remedies are chosen on validation images, and test images were not looked at."


def say_cost(study: StudyView) -> str:
    """The cost in trainings, time and looks at labels."""
    ledger = study.ledger
    if study.kind == "recorded" and study.recorded is not None:
        count = sum(len(arm.runs) for arm in study.recorded.arms)
        return f"No new training: {pluralize(count, 'recorded run')} were compared."
    done = study.progress.done if study.status == "cancelled" else ledger.jobs  # the others never started, or stopped
    looks = [pluralize(count, "time") for count in (ledger.validation_reads, ledger.test_reads)]
    return (
        f"{pluralize(done, 'training')}, which took {format_duration(ledger.seconds)} of computing in all. "
        f"The study looked at validation labels {looks[0]} and at test labels {looks[1]}."
    )


def _describe_effect(winner: ArmView, metric: str | None = None) -> str:
    """Describe the effect on validation images: on accuracy if that is clearly better, otherwise on loss.

    metric: the name of final figures.
    """
    difference, now = winner.difference, winner.validation
    if difference is None or now is None:
        return ""
    subject = None if metric is None else f"Its {metric}"
    if difference.measure is not None and now.objective is not None and difference.objective is not None:
        figures = (now.objective, now.objective - difference.objective)
        reached, without = (format_measure(difference.measure, figure) for figure in figures)
        return f"Validation {name_measure(difference.measure)} is {reached} instead of {without}."
    if now.accuracy is not None and difference.accuracy is not None and difference.side("accuracy") == "better":
        after, before = whole_percents(now.accuracy, now.accuracy - difference.accuracy)
        return f"{subject or 'Validation accuracy'} is {after} instead of {before}."
    if now.loss is not None and winner.base_loss is not None:
        return f"{subject or 'Validation loss'} is {now.loss:.3f} instead of {winner.base_loss:.3f}."
    return ""


def _list_remedies(study: StudyView) -> list[str]:
    return [arm.name for arm in study.arms[1:]] or list(study.remedies)


def _is_plural(name: str) -> bool:
    """Return whether a remedy's name is a plural, such as `more epochs`."""
    return name.endswith(("epochs", "weights", "images", "features"))


def _get_name(remedy: str) -> str:
    """Return the remedy's name, capitalized; a long one is replaced by `A combination of remedies` or `One remedy`."""
    words = describe_remedy(remedy)
    if not words or len(words.split()) > _MOST_WORDS or len(words) > _MOST_CHARACTERS:
        return "A combination of remedies" if "+" in remedy else "One remedy"
    return words[0].upper() + words[1:]
