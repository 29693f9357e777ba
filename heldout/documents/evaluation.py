"""Figures of a network on each split, and the evaluation of an uploaded model, as blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.documents.blocks import Block, Document, Fact, Facts, Heading, Paragraph, Table, strip_code
from heldout.documents.diagnosis import build_diagnosis
from heldout.metrics import METRICS
from heldout.words import NONE, format_duration, format_loss, format_range, percent
from heldout.words.changes import format_metric

if TYPE_CHECKING:
    from heldout.stored.results import SplitResult, SplitsResult
    from heldout.views.diagnosis import DiagnosisView
    from heldout.views.model import EvaluationView

HOW_TO_READ = (
    "With other images of the same kind, the share of right answers would be a little different. In 95 of 100 cases "
    "its true value lies between the two bounds (Wilson); fewer images put them wider apart."
)


def lay_out_evaluation(evaluation: EvaluationView, diagnosis: DiagnosisView) -> Document:
    title = f"{evaluation.model.name} on {evaluation.dataset.name}@{evaluation.dataset.version}"
    return Document(strip_code(title), build_evaluation(evaluation, diagnosis))


def build_evaluation(evaluation: EvaluationView, diagnosis: DiagnosisView) -> list[Block]:
    """List the blocks of an evaluation that has succeeded."""
    model, dataset, changed = evaluation.model, evaluation.dataset, evaluation.preprocessing
    took = None
    if evaluation.started_at is not None and evaluation.finished_at is not None:
        took = (evaluation.finished_at - evaluation.started_at).total_seconds()
    facts = [
        Fact("Evaluation", evaluation.id),
        Fact("Model", strip_code(model.name), f"({model.id})", page=f"/models/{model.id}"),
        Fact("Dataset", strip_code(f"{dataset.name}@{dataset.version}"), page=f"/datasets/{dataset.id}"),
        Fact.at("Created", evaluation.created_at),
        *([] if took is None else [Fact("Took", format_duration(took))]),
    ]
    blocks: list[Block] = [Facts(facts), Heading(evaluation.headline or "How often it is right")]
    blocks += [Paragraph(evaluation.summary, "sentence")] if evaluation.summary else []
    if changed is not None:
        low, high = changed.value_range
        given = f"The dataset's pixel values run from {low:g} to {high:g}, but the model expects {changed.in_words}."
        how = 'The figures use the pixels that it expects; "as given" uses the dataset\'s own.'
        blocks.append(Paragraph(f"{given} {how}", "caution"))
    if evaluation.metrics is not None:
        blocks += [build_splits(evaluation.metrics, evaluation.as_given), *build_other_metrics(evaluation.metrics)]
    return [*blocks, *build_diagnosis(diagnosis, dataset=dataset.id)]


def build_splits(figures: SplitsResult, as_given: SplitsResult | None = None, caption: str = "") -> Table:
    """Return figures of each measured split. as_given: those without a necessary change of pixels."""
    rows = []
    for name, split in (("training", "train"), ("validation", "validation"), ("test", "test")):
        result: SplitResult | None = getattr(figures, split)
        given: SplitResult | None = getattr(as_given, split, None)
        if result is not None:
            measured = (percent(result.accuracy), format_range(result.interval), format_loss(result.loss))
            also = [] if given is None else [percent(given.accuracy)]
            rows.append((name, f"{result.count:,}", *measured, *also))
    headings = ("images", "number", "right", "very likely between", "loss", *(["as given"] if as_given else []))
    return Table(caption, headings, rows, numbers=tuple(range(1, len(headings))), note=HOW_TO_READ)


def build_other_metrics(figures: SplitsResult) -> list[Block]:
    """A row for each metric besides accuracy and loss, with the splits side by side; nothing if there are none."""
    names = {"train": "training", "validation": "validation", "test": "test"}
    splits: dict[str, SplitResult | None] = {name: getattr(figures, split) for split, name in names.items()}
    known = {name: result.metrics for name, result in splits.items() if result is not None and result.metrics}
    rows, notes = [], dict[str, None]()
    for metric in METRICS:
        found = {name: of_split[metric] for name, of_split in known.items() if metric in of_split}
        if any(result.value is not None for result in found.values()):
            shown = (format_metric(metric, found[name]) if name in found else NONE for name in known)
            rows.append((METRICS[metric].name, *shown))
            notes |= {f"{name.capitalize()}: {result.why}": None for name, result in found.items() if result.why}
    if not rows:
        return []
    return [Table("Other metrics, very likely between", ("metric", *known), rows, note=" ".join(notes))]
