"""Proofs of verdicts on a drawn sample of the zoo's trainings: experiments are really trained, and replayed to score.

`train` trains what the proofs of the sample ask for next, and keeps its figures. `score` replays the proofs from kept
figures. Truth is what interventions have measured on the referee's images, which neither training nor proof sees.
"""

import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.zoo.draw import SEALED_LOT, sets_of_lot
from benchmarks.zoo.manifest import NotBuilt, load_built
from benchmarks.zoo.record import ZooRecord, read_set, unpack
from benchmarks.zoo.truth import causes_of, first_of, is_known
from heldout.diagnosis.confidence import get_certainty
from heldout.diagnosis.findings import CANNOT_TELL
from heldout.diagnosis.proven import list_tiers
from heldout.diagnosis.rules.learning import has_high_rate
from heldout.proofs.catalogue import EXPERIMENTS
from heldout.proofs.experiment import Experiment, Subject, Variant
from heldout.proofs.figures import Figures, Split, pack_right
from heldout.proofs.planning import Budget, plan, spread_probabilities
from heldout.spec.documents import merge
from heldout.statistics import compute_wilson_interval
from heldout.stored.results import FinalView
from heldout.work.kinds import ExperimentSpec
from models.proof_subject import find_suspected_split, list_measured

KEPT = Path(__file__).parent / "proofs.jsonl"
SEED = "proofs of the zoo"
# What a proof may cost.
TRAININGS, WORK = 6, 8.0
MAX_PATCHES = 2

Key = tuple[str, str]  # of a training, and of a variant
Kept = Mapping[Key, Figures | None]


def draw_sample() -> Iterator[ZooRecord]:
    """The trainings whose truth is known, of all lots but a sealed one that has not judged, in a drawn order."""
    names = [name for lot in range(1, SEALED_LOT + 1) for name in sets_of_lot(lot)]
    random.Random(SEED).shuffle(names)
    turns: list[list[ZooRecord]] = []
    for name in names:
        records = [record for record in read_set(name, unseal=True) if is_judged(record)]
        random.Random(f"{SEED} {name}").shuffle(records)
        turns.append(records)
    for turn in range(max(map(len, turns), default=0)):
        yield from (records[turn] for records in turns if turn < len(records))


def is_judged(record: ZooRecord) -> bool:
    return record.kept is not None and "validation" in record.answers and is_known(record, causes_of(record))


def make_subject(record: ZooRecord) -> Subject:
    """What the service would know of this job. Images to leave out are not kept with a record."""
    assert record.kept is not None
    final, found = FinalView.model_validate(record.kept["final"]), record.diagnosis()
    splits = {name: Split(part.accuracy, part.loss, part.count) for name, part in _list_splits(final)}
    _, right = unpack(record.answers["validation"], splits["validation"].count)
    confusion = record.kept["confusion"]["validation"]
    recalls = tuple((row[label], sum(row)) for label, row in enumerate(confusion))
    remedies = [remedy for finding in found.findings if finding.code == found.verdict for remedy in finding.remedies]
    patches = {remedy.name: remedy.patch for remedy in remedies if remedy.patch}
    return Subject(
        spec=record.spec.model_dump(mode="json"),
        counts={name: split.count for name, split in splits.items()},
        figures=Figures(
            splits["train"],
            splits["validation"],
            pack_right(right.tolist()),
            record.training.epochs,
            splits.get("test"),
            recalls,
        ),
        verdict=found.verdict,
        probabilities=spread_probabilities(found.verdict, found.confidence, [cause.code for cause in found.causes]),
        patches=dict(list(patches.items())[:MAX_PATCHES]),
        measured=list_measured(found),
        can_continue=record.training.schedule == "constant",
        tiers=list_tiers(found.causes),
        suspected_split=find_suspected_split(found),
        has_high_rate=has_high_rate(record.spec.model_dump(mode="json")),
    )


def _list_splits(final: FinalView) -> list[tuple[str, Any]]:
    parts = (("train", final.train), ("validation", final.validation), ("test", final.test))
    return [(name, part) for name, part in parts if part is not None]


# --- training ----------------------------------------------------------------------------------------


def train(minutes: float) -> None:
    """Train what the proofs of the sample ask for, until the time is over."""
    ends_at, kept = time.monotonic() + 60 * minutes, dict(read_kept())
    for record in draw_sample():
        subject, key = make_subject(record), record.training.key
        if not is_built(record.training.dataset):
            continue
        while (variants := _list_next(subject, key, kept)) and time.monotonic() < ends_at:
            for variant in variants:
                figures = train_variant(record, subject, variant)
                kept[key, variant.key] = figures
                line = {"training": key, "variant": variant.key, "figures": figures and figures.to_json()}
                with KEPT.open("a") as file:
                    file.write(json.dumps(line, separators=(",", ":")) + "\n")
        if time.monotonic() >= ends_at:
            return


def is_built(name: str) -> bool:
    """Whether a set's images are in the cache folder."""
    try:
        return bool(load_built(name))
    except NotBuilt:
        return False


def _list_next(subject: Subject, key: str, kept: Kept) -> list[Variant]:
    replayed = replay(subject, key, kept)
    return [] if replayed.lacks is None else [v for v in replayed.lacks if (key, v.key) not in kept]


def train_variant(record: ZooRecord, subject: Subject, variant: Variant) -> Figures | None:
    """The figures of a variant, or None if it diverges. One that would continue is trained from the start."""
    import keras

    from benchmarks.diagnosis.trained import Parts
    from benchmarks.zoo.data import image_set, training_cut
    from benchmarks.zoo.faults import plant

    keras.backend.clear_session()
    training = record.training
    fixed = {"evaluation": {"train": "final", "test": "final" if variant.reads_test else "never"}}
    content = merge(merge(dict(subject.spec), dict(variant.patch)), fixed)
    content |= {"proves": training.key, "variant": variant.key, "splits_again": variant.splits_again}
    seed = training.seed + variant.seed
    content["training"] = {**content["training"], "seed": seed}
    spec = ExperimentSpec.model_validate(content)
    cut = training_cut(training.dataset, training.images, training.seed)
    parts = Parts(spec, seed, image_set(plant(cut, training.faults, training.seed).data))
    parts.run(lambda message: None)
    weights = parts.trained_weights
    if not weights.kept:
        return None
    parts.network.set_weights(weights.of_epoch[weights.kept])
    measured, right, recalls = dict[str, Split](), "", tuple[tuple[int, int], ...]()
    for name, rows in parts.data.source.items():
        labels = parts.images.labels[rows]
        losses, chances = parts.judge.outputs(rows)
        answers = chances.argmax(axis=1) == labels
        loss = float(losses.mean(dtype=np.float64))
        measured[name] = Split(float(answers.mean()), loss if np.isfinite(loss) else None, len(rows))
        if name == "validation":
            right = "" if variant.splits_again else pack_right(answers.tolist())
            known = np.bincount(labels, minlength=len(parts.images.classes))
            correct = np.bincount(labels[answers], minlength=len(known))
            recalls = tuple(zip(correct.tolist(), known.tolist(), strict=True))
    return Figures(measured["train"], measured.get("validation"), right, weights.epochs, measured.get("test"), recalls)


def read_kept() -> Iterator[tuple[Key, Figures | None]]:
    for line in KEPT.read_text().splitlines() if KEPT.is_file() else ():
        found = json.loads(line)
        figures = found["figures"]
        yield (found["training"], found["variant"]), None if figures is None else Figures.from_json(figures)


# --- scoring -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replayed:
    """A proof from kept figures. lacks: what it would train next, if that is not kept; None once it has ended."""

    done: Mapping[str, Figures | None]
    work: float
    lacks: tuple[Variant, ...] | None


def replay(subject: Subject, key: str, kept: Kept, experiments: Mapping[str, Experiment] = EXPERIMENTS) -> Replayed:
    done: dict[str, Figures | None] = {}
    work = 0.0
    while True:
        found = plan(subject, done, Budget(TRAININGS - len(done), WORK - work), experiments)
        if not found.steps:
            return Replayed(done, work, None)
        variants = found.steps[0].variants
        if any((key, variant.key) not in kept for variant in variants):
            return Replayed(done, work, tuple(variants))
        for variant in variants:
            done[variant.key] = kept[key, variant.key]
            work += variant.work


@dataclass(frozen=True)
class Row:
    """One training before and after its proof."""

    was_right: bool
    is_right: bool
    is_proven: bool
    says_nothing: bool
    was_sure: bool
    work: float
    trainings: int


def score() -> Iterator[str]:
    """Tables of all proofs whose experiments are kept, as Markdown: of both halves, then of the one looked at later."""
    kept = dict(read_kept())
    known = {key for key, _ in kept}
    records = [record for record in draw_sample() if record.training.key in known]
    looked_at = draw_half(records)
    halves = [
        [record for record in records if (record.training.dataset in looked_at) == is_first] for is_first in (1, 0)
    ]
    scored = [_score_all(half, kept) for half in halves]
    yield f"{len(records)} trainings, drawn from all lots; {len(kept)} experiments trained for them."
    yield ""
    yield "| question | half looked at | half looked at later |"
    yield "|---|---|---|"
    for question, answer in QUESTIONS.items():
        yield f"| {question} | {' | '.join(answer(list(rows.values())) for rows in scored)} |"
    yield ""
    yield "On the half looked at later, with and without each experiment, where all that is asked for is kept:"
    yield ""
    yield "| experiment | trainings | right after with it | without it | proven with it | without it | right of these |"
    yield "|---|---|---|---|---|---|---|"
    for name in EXPERIMENTS:
        others = {other: experiment for other, experiment in EXPERIMENTS.items() if other != name}
        without = _score_all(halves[1], kept, others)
        both = [key for key in without if key in scored[1]]
        with_it, without_it = [scored[1][key] for key in both], [without[key] for key in both]
        cells = [_count(row.is_right for row in rows) for rows in (with_it, without_it)]
        cells += [_count(row.is_proven for row in rows) for rows in (with_it, without_it)]
        cells += [_count(row.is_right for row in without_it if row.is_proven)]
        yield f"| `{name}` | {len(both)} | {' | '.join(cells)} |"


def draw_half(records: Sequence[ZooRecord]) -> frozenset[str]:
    """The sets whose proofs were looked at first to find out what goes wrong. The other half was looked at later."""
    names = sorted({record.training.dataset for record in records})
    random.Random("halves of the proofs").shuffle(names)
    return frozenset(names[: len(names) // 2])


QUESTIONS: Mapping[str, Callable[[Sequence[Row]], str]] = {
    "trainings with all experiments that are asked for": lambda rows: str(len(rows)),
    "verdict right before": lambda rows: _share([row.was_right for row in rows]),
    "of the sure ones": lambda rows: _share([row.was_right for row in rows if row.was_sure]),
    "verdict right after proof": lambda rows: _share([row.is_right for row in rows]),
    "of the proven ones": lambda rows: _share([row.is_right for row in rows if row.is_proven]),
    "proven": lambda rows: _share([row.is_proven for row in rows]),
    'proven, or rightly "cannot tell"': lambda rows: _share([row.is_proven or row.says_nothing for row in rows]),
    "work, in trainings of the job's own kind (median)": lambda rows: f"{median(row.work for row in rows):.2f}",
    "experiments (median)": lambda rows: f"{median(row.trainings for row in rows):g}",
}


def _score_all(
    records: Sequence[ZooRecord], kept: Kept, experiments: Mapping[str, Experiment] = EXPERIMENTS
) -> dict[str, Row]:
    scored = {record.training.key: _score_one(record, kept, experiments) for record in records}
    return {key: row for key, row in scored.items() if row is not None}


def _count(values: Iterable[bool]) -> str:
    listed = list(values)
    return f"{sum(listed)} of {len(listed)}"


def _score_one(record: ZooRecord, kept: Kept, experiments: Mapping[str, Experiment] = EXPERIMENTS) -> Row | None:
    """None if an experiment that the proof asks for is not kept."""
    subject = make_subject(record)
    replayed = replay(subject, record.training.key, kept, experiments)
    if replayed.lacks is not None:
        return None
    outcomes = plan(subject, replayed.done, Budget(0, 0), experiments).outcomes
    before, after, accepted = record.diagnosis(), record.diagnosis(outcomes=outcomes), first_of(causes_of(record))
    return Row(
        was_right=before.verdict in accepted,
        is_right=after.verdict in accepted,
        is_proven=after.is_proven,
        says_nothing=after.verdict == CANNOT_TELL and CANNOT_TELL in accepted,
        was_sure=get_certainty(before.confidence) == "sure",
        work=replayed.work,
        trainings=len(replayed.done),
    )


def _share(values: list[bool]) -> str:
    if not values:
        return "–"
    low, high = compute_wilson_interval(sum(values), len(values))
    return f"{sum(values)} of {len(values)}: {100 * sum(values) / len(values):.1f}% ({100 * low:.1f}–{100 * high:.1f}%)"
