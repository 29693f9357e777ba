"""The model card of a job: its use, results and data, and how to reproduce it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heldout.documents.blocks import (
    Block,
    Document,
    Facts,
    Heading,
    Listing,
    Paragraph,
    Table,
    dump_listed_json,
    strip_code,
)
from heldout.documents.diagnosis import build_diagnosis, build_facts
from heldout.documents.evaluation import build_splits
from heldout.stored.audit import StoredAudit
from heldout.stored.results import FinalView
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from heldout.words import format_range, percent, pluralize
from heldout.words.data_and_models import fold_notes

_SHOWN_CLASSES = 20
_SPEC_FILE = "spec.json"


@dataclass(frozen=True)
class SharedModelFacts:
    """A model that the operator shares with all owners, and that the job was built on or started from."""

    id: str
    name: str
    license: str
    source: str


@dataclass(frozen=True)
class CardFacts:
    """The content of a card.

    final: None if the job was cancelled before it was measured.
    audit: None if the dataset is built in, or if its audit is gone.
    shape: (height, width, channels). value_range: of the pixels. splits: for each split its count, and the count of
    each class as `per_class`. dataset_sha256: None if the dataset was deleted.
    shared_models: what its network or first weights are from, if that is not the owner's own.
    """

    job: JobView
    final: FinalView | None
    diagnosis: DiagnosisView
    audit: StoredAudit | None
    classes: Sequence[str]
    shape: Sequence[int]
    value_range: Sequence[float]
    splits: Mapping[str, Mapping[str, Any]]
    dataset_sha256: str | None
    is_bundled: bool
    shared_models: Sequence[SharedModelFacts] = ()


def build_card(facts: CardFacts) -> Document:
    job = facts.job
    when = "" if job.finished_at is None else f", finished on {job.finished_at:%Y-%m-%d %H:%M} UTC"
    return Document(
        f"Model card: {strip_code(job.name)}",
        [
            Paragraph(_compose_lead(facts), "sentence"),
            Paragraph(f"Job `{job.id}` on {strip_code(job.dataset.name)}, version {job.dataset.version}{when}."),
            *build_facts(facts.diagnosis.figures),
            *_use_blocks(facts),
            *_build_measured_blocks(facts),
            Heading("Why is it worse on new images?"),
            *build_diagnosis(facts.diagnosis, level=3, with_facts=False),
            *_build_model_blocks(facts.shared_models),
            *_build_data_blocks(facts),
            *_build_again_blocks(facts),
        ],
    )


def _compose_lead(facts: CardFacts) -> str:
    what = f"An image classifier for {pluralize(len(facts.classes), 'class')}"
    # Test images say most about images that the network has never seen.
    splits = () if facts.final is None else (("test", facts.final.test), ("validation", facts.final.validation))
    measured = [(split, result) for split, result in splits if result is not None]
    if not measured:
        return f"{what}. Its accuracy was not measured."
    split, result = measured[0]
    return (
        f"{what}. It is right on {percent(result.accuracy)} of {result.count:,} {split} images, which very likely "
        f"means {format_range(result.interval)} of all such images."
    )


def _use_blocks(facts: CardFacts) -> list[Block]:
    height, width, channels = facts.shape
    low, high = facts.value_range
    names = [f'"{strip_code(name)}"' for name in facts.classes[:_SHOWN_CLASSES]]
    more = len(facts.classes) - len(names)
    return [
        Heading("Intended use"),
        Paragraph(
            "It names the class of images that look like those that it was trained on: of the same size, range, source "
            "and subject. It always names one of its classes, also for an image that shows none of them. The figures "
            "below hold for images drawn as the test images were; nothing was measured on others. If a wrong answer "
            "could harm someone, measure it on images of that use first."
        ),
        Facts.of(
            [
                (
                    "Takes:",
                    f"raw pixels, (batch, {height}, {width}, {channels}) float32, from {low:g} to {high:g}. A batch "
                    "can have any size.",
                ),
                ("Gives:", f"(batch, {len(facts.classes)}) probabilities."),
                ("Classes, in this order:", ", ".join(names) + (f" and {more:,} more." if more else ".")),
                ("Weights:", f"{facts.job.parameters:,}."),
            ]
        ),
    ]


def _build_measured_blocks(facts: CardFacts) -> list[Block]:
    heading = Heading("How well does it do?")
    final = facts.final
    if final is None:
        return [heading, Paragraph("The job was cancelled before its weights were measured.")]
    return [heading, build_splits(final, caption=f"The weights of epoch {final.epoch}")]


def _build_model_blocks(models: Sequence[SharedModelFacts]) -> list[Block]:
    if not models:
        return []
    rows = [
        (f"{strip_code(model.name)} ({model.id})", strip_code(model.license), strip_code(model.source))
        for model in models
    ]
    return [
        Heading("What is it built on?"),
        Table("Models that the operator shares", ("model", "license", "source"), rows, ()),
    ]


def _build_data_blocks(facts: CardFacts) -> list[Block]:
    rows = [
        (split, f"{about['count']:,}", _describe_spread(about.get("per_class", ())))
        for split, about in facts.splits.items()
    ]
    blocks: list[Block] = [
        Heading("What data is it made from?"),
        Table("Images of the dataset", ("split", "images", "per class"), rows, (), (1,)),
    ]
    if facts.dataset_sha256 is not None:
        blocks.append(Paragraph(f"SHA-256 digest of its content: `{facts.dataset_sha256}`."))
    if facts.audit is None:
        why = "The dataset is built in and has no audit" if facts.is_bundled else "Its audit can no longer be read"
        return [*blocks, Paragraph(f"{why}, so this card cannot name problems of its images.")]
    if not facts.audit.findings:
        return [*blocks, Paragraph("Its audit found nothing.")]
    found = [
        (f"{finding.code} ({finding.severity}):", strip_code(finding.explanation))
        for finding in fold_notes(facts.audit.findings)
    ]
    return [*blocks, Paragraph("What its audit found:"), Facts.of(found)]


def _describe_spread(per_class: Sequence[int]) -> str:
    return f"{min(per_class):,} to {max(per_class):,}" if per_class else ""


def _build_again_blocks(facts: CardFacts) -> list[Block]:
    job, engine = facts.job, facts.job.engine
    made_by = (
        ""
        if engine is None
        else (
            f" It was trained with TensorFlow {engine.tensorflow}, Keras {engine.keras} and Python {engine.python} on "
            f"{'a GPU' if engine.device == 'gpu' else 'a processor'}, in {engine.precision} precision."
        )
    )
    spec = dump_listed_json(job.spec.model_dump(mode="json"), indent=2, ensure_ascii=False)
    return [
        Heading("How do I reproduce it?"),
        Paragraph(
            "The spec below is complete, with its seed and all defaults. The same spec, machine and release give the "
            f"same weights; on another machine the last digits differ.{made_by}"
        ),
        Listing(_SPEC_FILE, spec, "json"),
        Listing("On a service that has the dataset", f"heldout train {shlex.quote(_SPEC_FILE)}", "sh"),
    ]
