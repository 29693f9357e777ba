"""What a reader asks next: what helped, is it sure, was test used, what now, what would make it surer, the cost."""

from collections.abc import Sequence

from analysis.reports.commands import IMAGES_FILE, MORE_FILE, WINNER_FILE
from analysis.reports.effects import accuracy_of, accuracy_side, explanation_of, loss_side, side_of, very_likely
from analysis.reports.figures import LOSS, OF_100_IMAGES, change, duration
from analysis.reports.sentences import (
    done_of_planned,
    flattered,
    flattered_told,
    what_would_tell,
    winner_of,
    with_effect,
)
from heldout.remedy_words import named, quoted
from heldout.views.study import StudyTestView, StudyView
from heldout.views.study_report import QuestionView
from heldout.words import counted, percent

RULE = "The ranges are so wide that in 95 of 100 such studies all of them hold the true differences."
LOSS_TOLD = " (Loss: how far answers are from being right and certain; lower is better.)"


def in_short_of(study: StudyView) -> list[QuestionView]:
    """Questions with answers, in the order in which they come to mind."""
    if study.kind == "learning_curve":
        asked = [
            ("Is that sure?", _is_forecast_sure(study)),
            ("What should I do now?", _after_learning_curve(study)),
            ("What did it cost?", cost_of(study)),
        ]
    else:
        asked = [
            ("What helped, and by how much?", _what_helped(study)),
            *_gap_closed(study),
            ("Is that sure?", _is_sure(study)),
            ("Were test images used to choose?", _test_used(study)),
            ("What should I do now?", _what_now(study)),
            ("What would make it surer?", _surer(study)),
            ("What did it cost?", cost_of(study)),
        ]
    return [QuestionView(question=question, answer=answer) for question, answer in asked]


def _gap_closed(study: StudyView) -> list[tuple[str, str]]:
    gap = None if study.conclusion is None else study.conclusion.gap
    return [] if gap is None else [("How much of the gap is closed?", gap.explanation)]


def cost_of(study: StudyView) -> str:
    """Trainings, time, and looks at labels."""
    ledger = study.ledger
    trainings = counted(ledger.jobs, "training")
    if study.status == "running":
        trainings = f"{done_of_planned(study)} so far"
    return (
        f"{trainings}, which took {duration(ledger.seconds)} of computing in all. Labels of "
        f"validation images were looked at {_times(ledger.validation_reads)}, labels of test images "
        f"{_times(ledger.test_reads)}."
    )


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count:,} times")


def _looks(count: int) -> str:
    """The ledger's number beside `once`, which is said of a single training."""
    return f": {counted(count, 'look')} in all" if count > 1 else ""


def test_told(test: StudyTestView, name: str) -> str:
    """What the test images say of the winner, and whether they agree."""
    base, winner, difference = test.base, test.winner, test.difference
    told = (
        f"On {winner.count:,} test images the unchanged network answers {percent(base.accuracy)} correctly, and the "
        f"one with {quoted(name)} {percent(winner.accuracy)}"
    )
    value, bounds = difference.accuracy, difference.intervals.accuracy
    if value is None or bounds is None:
        return f"{told}; how much of that is chance is not known."
    told += f": {change(OF_100_IMAGES, value, bounds)} of 100 ({very_likely(OF_100_IMAGES, value, bounds)})"
    sides = {
        side_of(bounds, is_rise_better=True),
        side_of(difference.intervals.loss, is_rise_better=False),
    }
    by_loss = ""
    if side_of(bounds, is_rise_better=True) == "may_be_chance" and difference.loss is not None:
        by_loss = f", and the loss is {change(LOSS, difference.loss, difference.intervals.loss)}"
    if "worse" in sides:
        return f"{told}{by_loss}: it does not hold there in full."
    if "better" in sides:
        return f"{told}{by_loss}: it holds there too."
    return f"{told}{by_loss}, which may be chance: by itself, test neither confirms nor contradicts it."


def _what_helped(study: StudyView) -> str:
    winner, better, worse = winner_of(study), with_effect(study, "better"), with_effect(study, "worse")
    if not any(arm.difference for arm in study.arms):
        return "Nothing has been compared yet."
    if winner is not None:
        told = f"{quoted(winner.name)}: {explanation_of(winner)}{LOSS_TOLD}"
        others = [name for name in better if name != winner.name]
        if others:
            told += f" Also surely better than the unchanged network: {named(others)}."
    elif study.status == "running" and better:
        told = f"So far surely better than the unchanged network: {named(better)}."
    else:
        best = max((arm for arm in study.arms if arm.name not in worse), key=accuracy_of)
        told = "Nothing." if len(worse) == len(study.arms) - 1 else "Nothing surely."
        if best.difference is not None:
            told += f" Measured best is {quoted(best.name)}: {explanation_of(best)}{LOSS_TOLD}"
    return f"{told} Surely worse: {named(worse)}." if worse else told


def _is_sure(study: StudyView) -> str:
    if not any(arm.difference for arm in study.arms):
        return "Nothing has been compared yet."
    if study.status == "running":
        return "No, the study is not finished, and figures can still change."
    winner = winner_of(study)
    if winner is None or winner.difference is None:
        return f"{_sure_without_cure(study)} {_where_ranges_lie(study)} {RULE}"
    test = None if study.conclusion is None else study.conclusion.test
    told = "" if test is None else f" {test_told(test, winner.name)}"
    sides = {"in right answers": accuracy_side(winner.difference), "in loss": loss_side(winner.difference)}
    better = [measure for measure, side in sides.items() if side == "better"]
    if not better:
        return f"Not by the ranges alone: those of {quoted(winner.name)} hold 0 (no difference). {RULE}{told}"
    where = f"the whole range of {quoted(winner.name)} lies on the better side of 0 (no difference)"
    but = f" {flattered_told([winner.name])}" if winner.name in flattered(study) else ""
    return f"Yes, very likely: {where} {' and '.join(better)}. {RULE}{but}{told}"


def _sure_without_cure(study: StudyView) -> str:
    kind = None if study.conclusion is None else study.conclusion.kind
    if kind == "nothing_helped":
        worse, remedies = len(with_effect(study, "worse")), len(study.arms) - 1
        if worse == remedies:
            return "Yes, very likely."
        if worse:
            return "Yes, very likely: some harm, and any gain of the others is too small to matter."
        return "Yes, very likely: any gain is too small to matter."
    return "No: what was measured may be chance, so nothing is decided."


def _where_ranges_lie(study: StudyView) -> str:
    """Of a study without a winner."""
    better, worse = with_effect(study, "better"), with_effect(study, "worse")
    open_ones = [*with_effect(study, "may_be_chance"), *with_effect(study, "mixed")]
    told = []
    if better:
        told.append(f"{_ranges_of(better)} on the better side of 0 (no difference), but that was not confirmed.")
    else:
        told.append("No range lies on the better side of 0 (no difference).")
    if worse:
        told.append(f"{_ranges_of(worse)} on the worse side, in right answers or in loss.")
    if open_ones:
        told.append(f"{_ranges_of(open_ones)} around 0: the effect may be as good or as bad as the ends say, or none.")
    return " ".join(told)


def _ranges_of(names: Sequence[str]) -> str:
    return f"The range of {named(names)} lies" if len(names) == 1 else f"The ranges of {named(names)} lie"


def _test_used(study: StudyView) -> str:
    if study.status == "running":
        return "No. Remedies are chosen by validation images; test images are looked at once, after the choice."
    start = "No. Everything was chosen by validation images."
    if study.conclusion is not None and study.conclusion.test is not None:
        return (
            f"{start} Only then, after the choice, was each training of the unchanged network and of the chosen one "
            f"measured on test images, once{_looks(study.ledger.test_reads)}."
        )
    if study.ledger.test_reads == 0:
        return f"{start} Test images were not looked at at all."
    return start


def _what_now(study: StudyView) -> str:
    if study.status == "running":
        return "Wait for the end of the study."
    if study.status != "succeeded" or study.conclusion is None:
        return "Order the study again once its cause is fixed." if study.status == "failed" else "Order it again."
    conclusion, winner = study.conclusion, winner_of(study)
    if winner is not None:
        spec = f"For trainings of your own, take {WINNER_FILE} below: the spec with {quoted(winner.name)}."
        if conclusion.refit is None:
            return spec
        return (
            f"Use the model of `{conclusion.refit}`, which the command below downloads when its training is done. That "
            f"job trains with {quoted(winner.name)} on training and validation images together, so there are no "
            f"validation figures of it. {spec}"
        )
    if conclusion.kind == "nothing_helped":
        worse = len(with_effect(study, "worse"))
        why = "these remedies make it worse or bring too little to matter"
        if worse in {0, len(study.arms) - 1}:
            why = "these remedies make it worse" if worse else "what these remedies may bring is too little to matter"
        return (
            f"Keep the network as it is: {why}. Measure instead whether "
            f"more training images would help; the request is below: {IMAGES_FILE}."
        )
    keep = "Keep the network as it is for now, and take none of the remedies for an improvement."
    needs = conclusion.needs
    if needs is None or (needs.seeds is None and needs.images is None):
        return f"{keep} Measuring these remedies longer is not worth it: try others, or collect more training images."
    more = f" The request is below: {MORE_FILE}." if needs.seeds is not None and needs.images is None else ""
    return f"{keep} To know more: {what_would_tell(needs)}.{more}"


def _surer(study: StudyView) -> str:
    if study.status == "running":
        return f"The trainings that are still to come: {done_of_planned(study)} are done."
    needs = None if study.conclusion is None else study.conclusion.needs
    if needs is None:
        return (
            "More trainings of each network (seeds) even out the luck of single trainings; more validation images even "
            "out the luck of which images were asked. Both make the ranges narrower."
        )
    told = what_would_tell(needs)
    return f"{told[0].upper()}{told[1:]}."


def _is_forecast_sure(study: StudyView) -> str:
    if study.status == "running":
        return "No, the study is not finished, and figures can still change."
    if study.forecast is None:
        return "The errors at each number of images are measured. What more images would bring is not known."
    return (
        "The errors up to now are measured. The forecast goes on as they went so far: of 100 such forecasts, about 90 "
        "have the true error in their range. It holds for new images of the same kind as those of today."
    )


def _after_learning_curve(study: StudyView) -> str:
    if study.status == "running":
        return "Wait for the end of the study."
    if study.forecast is None or not study.sizes:
        return "Do not plan with these figures: they give no forecast."
    bounds, now = study.forecast.interval, study.sizes[-1].error
    if bounds is not None and bounds[1] < now:
        return "Collect more training images; the figure below says what they should bring."
    return "Do not count on more training images alone; try remedies first."
