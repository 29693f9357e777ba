"""The plan of a proof: which experiment comes next, by what it is expected to settle for its cost.

The value of an experiment is the sum over causes of their probability times the probability that it settles them. The
plan takes the most value for each unit of work first, and is made again after each result. Work is counted, not
measured, so the same figures give the same plan on any machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from heldout.proofs.catalogue import EXPERIMENTS
from heldout.proofs.experiment import Evidence, Experiment, Subject, Variant
from heldout.proofs.figures import Figures
from heldout.proofs.order import find_verdict, is_proven, list_open
from heldout.proofs.outcomes import Outcomes, Tried
from heldout.verdicts import FAULTS

# Experiments that are expected to settle less than this share of the verdict are not worth a training.
MIN_VALUE = 0.05
# A second seed settles less often what the first one left open.
VALUE_OF_REPEATING = 0.5
Done = Mapping[str, Figures | None]
EndReason = Literal["proven", "budget", "nothing_left"]


@dataclass(frozen=True)
class Step:
    """An experiment that is planned: its trainings, their work, and what it is expected to settle."""

    experiment: str
    variants: Sequence[Variant]
    value: float

    @property
    def work(self) -> float:
        return sum(variant.work for variant in self.variants)


@dataclass(frozen=True)
class Budget:
    """What is left: trainings, and work in units of the job's own training."""

    trainings: int
    work: float


@dataclass(frozen=True)
class Plan:
    """What follows from the results so far.

    steps: the experiments to run, the first one next; empty if the proof has ended, for a `reason`.
    verdict: the cause that comes first now. probabilities: of each cause now.
    """

    outcomes: Outcomes
    verdict: str
    probabilities: Mapping[str, float]
    steps: Sequence[Step] = ()
    reason: EndReason | None = None


def plan(subject: Subject, done: Done, budget: Budget, experiments: Mapping[str, Experiment] = EXPERIMENTS) -> Plan:
    """Judge what has been tried, and plan the rest within the budget that is left.

    Args:
        done: the figures of each training that has ended; None for one that failed.
    """
    outcomes = judge(subject, done, experiments)
    probabilities = revise(subject.probabilities, outcomes)
    verdict = find_verdict(subject.verdict, subject.known, outcomes)
    if is_proven(verdict, subject.known, outcomes):
        return Plan(outcomes, verdict, probabilities, (), "proven")
    steps = rank(subject, done, probabilities, outcomes, experiments)
    if not steps:
        return Plan(outcomes, verdict, probabilities, (), "nothing_left")
    fitting, left = list[Step](), budget
    planned = set[str]()
    for step in steps:
        needed = [variant for variant in step.variants if variant.key not in planned]
        work = sum(variant.work for variant in needed)
        if len(needed) <= left.trainings and work <= left.work:
            fitting.append(step)
            planned |= {variant.key for variant in needed}
            left = Budget(left.trainings - len(needed), left.work - work)
    return Plan(outcomes, verdict, probabilities, tuple(fitting), None if fitting else "budget")


def judge(subject: Subject, done: Done, experiments: Mapping[str, Experiment] = EXPERIMENTS) -> Outcomes:
    """Judge each experiment whose trainings have ended. One that wants a second seed counts as it is until then."""
    evidence, tried = Evidence(subject, done), list[Tried]()
    places = {key: place for place, key in enumerate(done)}
    for experiment in experiments.values():
        variants = experiment.make_variants(subject)
        keys = [variant.key for variant in variants]
        if not (all(map(evidence.has, keys)) if keys else experiment.applies(subject)):
            continue
        trainings = sum(evidence.has(f"{key}{suffix}") for key in keys for suffix in ("", "+1"))
        judgement = experiment.judge(subject, evidence)
        about = (experiment.name, experiment.title, experiment.question)
        tried.append(Tried(*about, judgement, trainings, not keys or any(variant.reads_test for variant in variants)))
    first = {
        item.experiment: min(
            (places.get(variant.key, 0) for variant in experiments[item.experiment].make_variants(subject)), default=0
        )
        for item in tried
    }
    return Outcomes(tuple(sorted(tried, key=lambda item: first[item.experiment])))


def revise(probabilities: Mapping[str, float], outcomes: Outcomes) -> dict[str, float]:
    """Revise the probabilities of causes: a refuted one has none, a proven one leaves the others little."""
    revised = {code: 0.0 if outcomes.get_answer(code) == "refuted" else share for code, share in probabilities.items()}
    for code in outcomes.proven:
        revised[code] = max(revised.get(code, 0.0), sum(revised.values()) * 9)
    total = sum(revised.values())
    return {code: share / total for code, share in revised.items()} if total else revised


def rank(
    subject: Subject,
    done: Done,
    probabilities: Mapping[str, float],
    outcomes: Outcomes,
    experiments: Mapping[str, Experiment] = EXPERIMENTS,
) -> list[Step]:
    """List the experiments that are still worth a training: the most value for each unit of work first.

    What must be ruled out before the verdict counts as much as all other causes together, shared among those causes.
    """
    steps, judged = [], {tried.experiment for tried in outcomes.tried}
    verdict = find_verdict(subject.verdict, subject.known, outcomes)
    before = list_open(verdict, subject.known, outcomes)
    shares = {**dict.fromkeys(probabilities, 0.0), **dict.fromkeys(before, 1 / max(1, len(before)))}
    weights = {code: max(probabilities.get(code, 0.0), share) for code, share in shares.items()}
    for experiment in experiments.values():
        if not (variants := experiment.list_missing(subject, done)):
            continue
        value = sum(
            weights.get(code, 0.0) * share
            for code, share in experiment.settles.items()
            if outcomes.get_answer(code) is None
        )
        value *= VALUE_OF_REPEATING if experiment.name in judged else 1.0
        if value >= MIN_VALUE:
            steps.append(Step(experiment.name, tuple(variants), value))
    return sorted(steps, key=lambda step: (-step.value / step.work, step.experiment))


def list_impossible(subject: Subject, experiments: Mapping[str, Experiment] = EXPERIMENTS) -> list[tuple[str, str]]:
    """List the experiments that could settle something but cannot be tried, with the reason."""
    return [
        (experiment.name, experiment.why_not)
        for experiment in experiments.values()
        if not experiment.make_variants(subject)
        and not experiment.applies(subject)
        and any(subject.probabilities.get(code, 0.0) >= MIN_VALUE for code in experiment.settles)
    ]


def spread_probabilities(
    verdict: str,
    confidence: float | None,
    causes: Sequence[str],
    experiments: Mapping[str, Experiment] = EXPERIMENTS,
) -> dict[str, float]:
    """Spread probability over causes: what the diagnosis is sure of to its verdict, half of the rest to its others.

    The other half goes to every cause that experiments decide, and to a training without a fault.
    """
    certain = 0.6 if confidence is None else min(0.95, max(0.05, confidence))
    others = [code for code in causes if code != verdict]
    # A fault inside a network is only asked about if the diagnosis names it.
    decidable = dict.fromkeys(
        code for experiment in experiments.values() for code in experiment.settles if code not in FAULTS
    )
    rest = [code for code in decidable if code != verdict]
    shares = {verdict: certain}
    half = (1 - certain) / 2 if others else 0.0
    for code in others:
        shares[code] = shares.get(code, 0.0) + half / len(others)
    for code in rest:
        shares[code] = shares.get(code, 0.0) + (1 - certain - half) / len(rest)
    return shares
