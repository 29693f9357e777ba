"""The suspected labels of a dataset as their view, and what they say in words."""

from typing import Literal

from heldout.stored.suspects import StoredSuspects, Suspect
from heldout.views.job import JobErrorView
from heldout.views.suspects import SearchView, SuspectsView, SuspectView, WrongLabelsView
from models.tables import DatasetRow, JobRow
from models.views.dataset import thumbnail_of
from models.views.job import dataset_reference


def waiting_view(dataset: DatasetRow, job: JobRow | None) -> SuspectsView:
    """While the search waits or runs."""
    is_running = job is not None and job.attempt_started_at is not None and job.worker is not None
    status: Literal["queued", "running"] = "running" if is_running else "queued"
    name = f"{dataset.name}@{dataset.version}"
    waits = f"{name} waits for its turn: trainings come first."
    said = f"The labels of {name} are being judged." if is_running else waits
    return _without_suspects(dataset, status, f"{said} Ask again in a while.")


def failed_view(dataset: DatasetRow, job: JobRow | None) -> SuspectsView:
    """After a search that ended without a result."""
    error = None if job is None or job.error is None else JobErrorView.model_validate(job.error)
    why = "It was cancelled." if error is None else error.detail
    said = f"The search for wrong labels failed: {why} With ?again=true it is tried once more."
    return _without_suspects(dataset, "failed", said, error)


def ready_view(dataset: DatasetRow, stored: StoredSuspects, *, after: int, limit: int) -> SuspectsView:
    """One page of what was found."""
    shown = stored.suspects[after : after + limit]
    has_more = after + len(shown) < len(stored.suspects)
    wrong = stored.wrong
    return SuspectsView(
        object="suspects",
        status="ready",
        dataset=dataset_reference(dataset),
        explanation=explanation_of(stored),
        error=None,
        images=stored.images,
        wrong=None
        if wrong is None
        else WrongLabelsView(
            count=wrong.count, share=wrong.count / max(1, stored.images), low=wrong.low, high=wrong.high
        ),
        search=SearchView(
            networks=stored.networks,
            trained_on=stored.trained_on,
            seen_as=stored.seen_as,
            agreement=stored.agreement,
        ),
        data=[_suspect_view(dataset, after + place, one) for place, one in enumerate(shown, start=1)],
        has_more=has_more,
        next=after + len(shown) if has_more else None,
    )


def explanation_of(stored: StoredSuspects) -> str:
    """What was found, for somebody who looks at the images next."""
    images, wrong = stored.images, stored.wrong
    if wrong is None:
        return (
            f"Nothing can be told from these {images:,} images: networks that were trained on the others give "
            f"{_percent(stored.agreement)} of them the label that they have, which may be chance. More images of each "
            "class would help; if there are many, the labels may follow nothing that can be seen."
        )
    if not stored.suspects:
        return f"None of {images:,} images stands out: no label is more likely wrong than right."
    listed = len(stored.suspects)
    ranged = f"{wrong.low:,} to {wrong.high:,} are possible"
    about = f"About {wrong.count:,} of {images:,} images ({_percent(wrong.count / images)})"
    if wrong.low == 0:
        about = f"{listed:,} of {images:,} images ({_percent(listed / images)})"
        ranged = f"none to {wrong.high:,} are possible: these may only be hard to recognise"
    have = "has" if listed == 1 and wrong.low == 0 else "have"
    return (
        f"{about} probably {have} a wrong label; {ranged}. Networks that were trained without an image disagree with "
        "its label; look at the first ones before you change anything."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _suspect_view(dataset: DatasetRow, rank: int, one: Suspect) -> SuspectView:
    classes = dataset.classes or []
    return SuspectView.model_validate(
        {
            **one.model_dump(exclude={"label", "suggested"}),
            "rank": rank,
            "label": classes[one.label],
            "suggested": classes[one.suggested],
            "thumbnail": thumbnail_of(dataset.id, one.index),
        }
    )


def _without_suspects(
    dataset: DatasetRow, status: Literal["queued", "running", "failed"], said: str, error: JobErrorView | None = None
) -> SuspectsView:
    return SuspectsView(
        object="suspects",
        status=status,
        dataset=dataset_reference(dataset),
        explanation=said,
        error=error,
        images=None,
        wrong=None,
        search=None,
        data=[],
        has_more=False,
        next=None,
    )
