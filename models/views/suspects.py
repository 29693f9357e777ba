"""Builds the view of a dataset's suspected labels, with explanations."""

from collections.abc import Iterator, Sequence
from typing import Literal

from heldout.stored.audit import SplitLabels, StoredSuspects, Suspect, SuspectsSummary
from heldout.views.audit import (
    ClassLabelsView,
    LabelCheckView,
    SearchView,
    SplitLabelsView,
    SuspectsView,
    SuspectView,
    WrongLabelsView,
)
from heldout.views.base import ErrorView, make_view
from heldout.words import join_with_and, rough_percent
from models.tables import DatasetRow, JobRow
from models.views.dataset import get_thumbnail_route
from models.views.job import build_dataset_reference

# Classes that an explanation names, and the share of all wrong labels from which on it does.
MAX_NAMED = 4
MIN_SHARE_OF_CLASS = 0.15
FIRST = 20  # images of a list in which the search counts its planted labels
# Above this probability, the suggestion is better than the label.
LIKELY_WRONG = 0.5
_SPLIT_WORDS = {"train": "training", "validation": "validation"}


def build_waiting_view(dataset: DatasetRow, job: JobRow | None) -> SuspectsView:
    """Build the view while the search is queued or running."""
    is_running = job is not None and job.attempt_started_at is not None and job.worker is not None
    status: Literal["queued", "running"] = "running" if is_running else "queued"
    name = f"{dataset.name}@{dataset.version}"
    waits = f"The search in {name} is queued. Trainings come first."
    explanation = f"The labels of {name} are being checked." if is_running else waits
    return _build_empty_view(dataset, status, f"{explanation} Try again in a while.")


def build_failed_view(dataset: DatasetRow, job: JobRow | None) -> SuspectsView:
    """Build the view after a search without a result."""
    error = None if job is None or job.error is None else ErrorView.model_validate(job.error)
    why = "It was cancelled." if error is None else error.detail
    explanation = f"The search for wrong labels failed: {why} ?again=true repeats it."
    return _build_empty_view(dataset, "failed", explanation, error)


def build_ready_view(dataset: DatasetRow, stored: StoredSuspects, *, after: int, limit: int) -> SuspectsView:
    """Build one page of the result."""
    shown = stored.suspects[after : after + limit]
    has_more = after + len(shown) < len(stored.suspects)
    classes, wrong = dataset.classes or [], stored.wrong if stored.can_tell else None
    return SuspectsView(
        object="suspects",
        status="ready",
        dataset=build_dataset_reference(dataset),
        explanation=explain_suspects(stored, classes),
        error=None,
        images=stored.images,
        verdict="split_disagrees" if stored.disagreeing_split else stored.verdict,
        wrong=wrong and make_view(WrongLabelsView, wrong, share=wrong.count / max(1, stored.images)),
        splits={split: _build_split_view(found) for split, found in stored.splits.items()} if stored.can_tell else None,
        search=make_view(
            SearchView,
            stored,
            classes=[
                make_view(ClassLabelsView, known, name=classes[known.label])
                for known in sorted(stored.classes, key=lambda known: known.agreement)
            ],
        ),
        data=[
            _build_suspect_view(dataset, stored, after + place, suspect) for place, suspect in enumerate(shown, start=1)
        ],
        has_more=has_more,
        next=after + len(shown) if has_more else None,
    )


def explain_suspects(stored: StoredSuspects, classes: Sequence[str]) -> str:
    """Explain the result to someone who will look at the images next. classes: names."""
    if stored.verdict is None:
        return (
            "This search was made by an earlier release, which did not check its own accuracy. "
            "Search again with ?again=true for a count. Until then, these are only the oddest images."
        )
    if stored.disagreeing_split is not None:
        return _describe_disagreement(stored.disagreeing_split)
    if not stored.can_tell or stored.wrong is None:
        return f"{_describe_too_hard(stored)} {_introduce_oddest(stored)}"
    return " ".join(
        [_describe_count(stored), *_describe_classes(stored, classes), _suggest_next_step(stored)],
    )


def build_label_check_view(stored: SuspectsSummary | None) -> LabelCheckView | None:
    """Build an audit's summary of wrong labels, without test labels, so that reading it is not a look at them."""
    if stored is None or stored.verdict is None:
        return None
    if (split := stored.disagreeing_split) is not None:
        return LabelCheckView(verdict="split_disagrees", explanation=_describe_disagreement(split), splits=None)
    if not stored.can_tell:
        return LabelCheckView(verdict="too_hard", explanation=_describe_too_hard(stored), splits=None)
    shown = {split: found for split, found in stored.splits.items() if split != "test"}
    counts = "; ".join(
        f"about {found.count:,} of {found.images:,} {_SPLIT_WORDS[split]} labels ({found.low:,} to {found.high:,})"
        for split, found in shown.items()
    )
    return LabelCheckView(
        verdict="can_tell",
        explanation=f"Wrong labels: {counts}. Listing the images counts as a look at test labels.",
        splits={split: _build_split_view(found) for split, found in shown.items()},
    )


def _describe_disagreement(split: str) -> str:
    return (
        f"Most labels of the {_SPLIT_WORDS.get(split, split)} split do not match its images, as if its classes were "
        "in another order. Fix that first, then search again."
    )


def _describe_too_hard(stored: SuspectsSummary) -> str:
    agreed = f"they agree with {rough_percent(stored.agreement)} of the labels"
    if stored.surest_say == "wrong_labels":
        return (
            "Many labels seem wrong: where the networks that check labels are surest, they still disagree with "
            f"{rough_percent(1 - (stored.surest_agreement or 0))} ({agreed} in all). How many labels are wrong cannot "
            "be determined."
        )
    return (
        f"These images are too hard for the networks that check labels ({agreed}). How many labels are wrong cannot be "
        "determined."
    )


def _introduce_oddest(stored: StoredSuspects) -> str:
    """Say how the list is to be read if there is no count."""
    found = None if stored.planted is None else stored.planted.in_first
    tried = (
        ""
        if found is None
        else " As a trial, the search changed a tenth of the labels itself: of the first "
        f"{FIRST} images of such a list, {found:.0f} were changed ones."
    )
    if stored.surest_say == "wrong_labels":
        return f"Look at the oddest images first.{tried}"
    if stored.surest_say == "hard_images":
        surest = rough_percent(stored.surest_agreement or 0)
        return (
            f"Where they are surest, they agree with {surest} of the labels. So the oddest images are shown anyway, "
            f"but most of their labels may be right.{tried}"
        )
    return f"The oddest images are shown anyway, but many of their labels may be right.{tried}"


def _describe_classes(stored: StoredSuspects, names: Sequence[str]) -> Iterator[str]:
    """Name the classes with the most wrong labels, and those whose labels were not judged."""
    total = stored.wrong.count if stored.wrong is not None else 0
    counted = [of for of in stored.classes if of.wrong is not None]
    most = sorted(counted, key=lambda of: -(of.wrong or 0))[:MAX_NAMED]
    worst = [of for of in most if (of.wrong or 0) >= max(2, MIN_SHARE_OF_CLASS * total)]
    if total and worst and len(counted) > 2:
        listed = join_with_and([f"{names[of.label]} (about {of.wrong:,.0f} of {of.images:,})" for of in worst])
        yield f"Most are labeled {listed}."
    unknown = sorted((of for of in stored.classes if of.wrong is None), key=lambda of: -of.images)
    if counted and unknown:
        images = sum(of.images for of in unknown)
        more = len(unknown) - MAX_NAMED
        listed = join_with_and([names[of.label] for of in unknown[:MAX_NAMED]] + ([f"{more} more"] if more > 0 else []))
        yield (
            f"The {images:,} labels of {listed} were not judged, because the networks do not know "
            f"{'this class' if len(unknown) == 1 else 'these classes'}."
        )


def _describe_count(stored: StoredSuspects) -> str:
    """Describe the number of wrong labels with its range. The search must be able to tell."""
    images, wrong = stored.images, stored.wrong
    assert wrong is not None, "the search can tell"
    if not wrong.count:
        at_most = f"; at most {wrong.high:,} are" if wrong.high else ""
        return f"No label of {images:,} images is probably wrong{at_most}."
    have = "has" if wrong.count == 1 else "have"
    return (
        f"About {wrong.count:,} of {images:,} images ({rough_percent(wrong.count / images)}) {have} a wrong label, "
        f"{wrong.low:,} to {wrong.high:,} with 95% confidence."
    )


def _suggest_next_step(stored: StoredSuspects) -> str:
    if not any((suspect.probability or 0) > LIKELY_WRONG for suspect in stored.suspects):
        return "No single label is more likely wrong than right."
    return "Look at the first images of the list before you change anything."


def _build_split_view(found: SplitLabels) -> SplitLabelsView:
    return make_view(SplitLabelsView, found, share=found.count / max(1, found.images))


def _build_suspect_view(dataset: DatasetRow, stored: StoredSuspects, rank: int, suspect: Suspect) -> SuspectView:
    classes = dataset.classes or []
    return make_view(
        SuspectView,
        suspect,
        rank=rank,
        label=classes[suspect.label],
        suggested=classes[suspect.suggested],
        probability=suspect.probability if stored.can_tell else None,
        thumbnail=get_thumbnail_route(dataset.id, suspect.index),
    )


def _build_empty_view(
    dataset: DatasetRow,
    status: Literal["queued", "running", "failed"],
    explanation: str,
    error: ErrorView | None = None,
) -> SuspectsView:
    return SuspectsView(
        object="suspects",
        status=status,
        dataset=build_dataset_reference(dataset),
        explanation=explanation,
        error=error,
        images=None,
        verdict=None,
        wrong=None,
        splits=None,
        search=None,
        data=[],
        has_more=False,
        next=None,
    )
