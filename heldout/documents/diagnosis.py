"""A diagnosis as blocks: what is wrong, what it costs, what to fix in which order; then the evidence."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from heldout.documents.blocks import (
    Action,
    Block,
    Cell,
    Details,
    Epochs,
    Fact,
    Facts,
    Figure,
    Heading,
    Item,
    Items,
    Paragraph,
    Table,
)
from heldout.documents.groups import build_exchanges, build_groups
from heldout.documents.strips import Mark, Strip, make_axis, make_mark
from heldout.fixes.bodies import format_fix_command
from heldout.pictures.scales import choose_scale
from heldout.verdicts import FINDING_KINDS
from heldout.views.diagnosis import SMALLEST_LOSS, SMALLEST_SHARE
from heldout.words import LOSS, POINTS, format_loss, format_signed, format_signed_range, percent, pluralize
from heldout.words.data_and_models import describe_calibration, describe_found_groups
from heldout.words.labels import SEVERITIES, TERMS, describe_remedy, get_verdict_name
from heldout.words.proofs import describe_cost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from heldout.stored.results import SplitResult
    from heldout.views.diagnosis import CauseView, DiagnosisView, FindingView, GapBudgetView, KeyFigureView, RemedyView
    from heldout.views.job import JobView
    from heldout.views.proof import ProofView

# Findings that only more images cure. A learning curve says how many are needed.
WANT_IMAGES = frozenset({"too_little_data", "test_too_small", "class_imbalance"})
# Findings about wrong labels, which the search for them shows.
OF_LABELS = frozenset({"label_noise", "memorised_noise", "label_conflicts"})


def build_diagnosis(
    diagnosis: DiagnosisView,
    job: JobView | None = None,
    dataset: str = "",
    *,
    level: int = 2,
    with_facts: bool = True,
    with_details: bool = True,
    proof: ProofView | None = None,
    inside: Sequence[Block] = (),
) -> list[Block]:
    """List the blocks of a diagnosis.

    Args:
        job: the training, if it can be run again.
        dataset: id of its dataset; empty if the service does not have it.
        level: of the headline as a heading.
        with_facts: whether to list the key figures.
        with_details: whether the evidence follows.
        proof: of the job's verdict, or what it would try; None if nothing is known of it.
        inside: what was seen inside the network; it follows the evidence.
    """
    is_running = job is not None and not job.has_ended
    facts = build_facts(diagnosis.figures) if with_facts else []
    if job is not None and is_running and job.status != "paused" and diagnosis.verdict == "cannot_tell":
        # More epochs are still to come, so the advice to train longer would mislead.
        early = "A verdict comes after a few epochs. There is nothing to do until then."
        return [Heading("It is too early to judge this training.", level), Paragraph(early, "sentence"), *facts]
    offers = _Offers(job, job.dataset.id if job is not None else dataset)
    blocks: list[Block] = [_build_headline(diagnosis, level)]
    blocks += [Paragraph(diagnosis.summary, "sentence")] if diagnosis.summary else []
    blocks += facts
    if is_running:
        blocks.append(Paragraph("Based on the epochs so far. The job is still running.", "hint"))
    blocks += _ask_for_groups(diagnosis, offers)
    blocks += [] if proof is None else _build_proof(proof)
    if diagnosis.tried:
        blocks.append(Items([Item(tried.title, tried.sentence) for tried in diagnosis.tried], "What was tried"))
    if diagnosis.causes:
        title = "What to fix, in order" if len(diagnosis.causes) > 1 else "What to do"
        causes = [_build_cause(cause, diagnosis, offers) for cause in diagnosis.causes]
        blocks.append(Items(causes, title, is_ordered=True))
    if job is not None and job.has_ended:
        blocks += offers.list_studies(diagnosis.verdict)
    return [*blocks, Details([*_build_evidence(diagnosis, offers, level + 1), *inside])] if with_details else blocks


def _ask_for_groups(diagnosis: DiagnosisView, offers: _Offers) -> list[Block]:
    """Offer to say which images belong together, where that decides whether the gap is chance."""
    size = None if diagnosis.gap is None else diagnosis.gap.family_of_chance
    return [] if size is None or not offers.dataset_page else [offers.name_groups(size)]


def _build_proof(proof: ProofView) -> list[Block]:
    """How a proof stands, or the offer to begin one or to continue it."""
    if proof.status == "running":
        return [Paragraph(proof.summary, "hint")]
    if not proof.plan:
        return []
    label = f"Make sure ({describe_cost(proof.cost.trainings, proof.cost.seconds)})"
    post, note = f"/v1/jobs/{proof.job}/proof", "Short trainings decide whether this verdict is right."
    command = f"heldout diagnose {proof.job} --prove"
    return [Action(label, command, f"/jobs/{proof.job}", post, note=note)]


def build_facts(figures: Sequence[KeyFigureView]) -> list[Block]:
    """Build the figures of one training."""
    return [Facts([Fact(figure.name, figure.text, figure.note) for figure in figures])] if figures else []


def build_gap(gap: GapBudgetView) -> Figure:
    """Draw the steps from training to test, in accuracy and, if it is known, in loss."""
    charts = [_draw_gap(gap, is_share=True)]
    if None not in (gap.train.loss, gap.test.loss, *(term.loss for term in gap.terms)):
        charts.append(_draw_gap(gap, is_share=False))
    return Figure("The gap", charts)


def _build_headline(diagnosis: DiagnosisView, level: int) -> Heading:
    name = get_verdict_name(diagnosis.verdict)
    marks = [name, *([diagnosis.certainty] if diagnosis.certainty else [])]
    return Heading(diagnosis.headline or _capitalize(name), level, diagnosis.verdict, marks)


def _build_cause(cause: CauseView, diagnosis: DiagnosisView, offers: _Offers) -> Item:
    points = f"{100 * (cause.points or 0):.1f}"
    action = None if cause.request is None else offers.fix_data(cause.request.path, cause.request.body)
    if action is None:
        # The first change of the training or of the data that may help.
        serious = [found for found in diagnosis.findings if found.code == cause.code and found.severity != "info"]
        offered = [offers.offer(found, remedy) for found in serious[:1] for remedy in found.remedies]
        action = next((offer for offer in offered if offer is not None), None)
    name = _capitalize(get_verdict_name(cause.code))
    size = "" if float(points) == 0 else f"{points} points"
    return Item(name, cause.what_to_do, cause.code, size, action)


def _build_evidence(diagnosis: DiagnosisView, offers: _Offers, level: int) -> list[Block]:
    trials = ""
    if diagnosis.confidence is not None:
        trials = f" In our trials with planted faults, {percent(diagnosis.confidence, 0)} of such verdicts were right."
    blocks: list[Block] = [Paragraph(diagnosis.explanation + trials)]
    best, onset = diagnosis.best_epoch, diagnosis.onset_epoch
    if best is not None:
        worse = "" if onset is None else f" It stays worse from epoch {onset} on."
        blocks.append(Epochs(f"The validation loss was lowest in epoch {best}.{worse}", best, onset))
    if diagnosis.caveats:
        why = " ".join(_explain_caveat(code) for code in diagnosis.caveats)
        blocks.append(Paragraph(f"Read the figures with care. {why}", "caution"))
    blocks += [Paragraph(f"Left out (`{file.code}`): {file.detail}", "caution") for file in diagnosis.left_out]
    if diagnosis.gap is not None:
        blocks.append(build_gap(diagnosis.gap))
        if (rule := diagnosis.gap.found_groups) is not None:
            blocks.append(Paragraph(describe_found_groups(rule), "caution"))
    if (found := diagnosis.calibration) is not None:
        calibrated = describe_calibration(found.split, found.temperature, found.error_before, found.error_after)
        blocks.append(Paragraph(calibrated))
    blocks += build_groups(diagnosis.groups, level)
    after = {cause.code: cause.figure_after.explanation for cause in diagnosis.causes if cause.figure_after is not None}
    for finding in diagnosis.findings:
        name, marks = _capitalize(get_verdict_name(finding.code)), [SEVERITIES[finding.severity]]
        blocks.append(Heading(name, level, finding.code, marks))
        if finding.explanation not in diagnosis.explanation:
            blocks.append(Paragraph(finding.explanation))
        blocks += build_exchanges(finding.evidence)
        if finding.code in after and finding.severity != "info":
            blocks.append(Paragraph(after[finding.code]))
        if finding.remedies:
            blocks.append(Items([_build_remedy(finding, remedy, offers) for remedy in finding.remedies]))
    return blocks


def _explain_caveat(code: str) -> str:
    kind = FINDING_KINDS.get(code)  # a newer service may know others
    unknown = f"{_capitalize(get_verdict_name(code))}: some figures are not what they seem."
    return (kind and kind.caveat) or unknown


def _build_remedy(finding: FindingView, remedy: RemedyView, offers: _Offers) -> Item:
    name, code = describe_remedy(remedy.name), remedy.name
    if remedy.name == "fix_data":
        name, code = "more images" if finding.code in WANT_IMAGES else "fix the data", ""
    return Item(_capitalize(name), remedy.reason, code, action=offers.offer(finding, remedy))


class _Offers:
    """The actions that fit a job and its dataset."""

    def __init__(self, job: JobView | None, dataset: str) -> None:
        self._job, self._dataset = job, dataset
        self._name = dataset if job is None else f"{job.dataset.name}@{job.dataset.version}"
        self._query = {} if job is None else {"job": job.id}

    def offer(self, finding: FindingView, remedy: RemedyView) -> Action | None:
        """What can be done to try this remedy; None if it is only advice."""
        job = self._job
        if remedy.request is not None:
            return self.fix_data(remedy.request.path, remedy.request.body)
        if remedy.patch is not None:
            return None if job is None else self._train(job, remedy.name)
        if remedy.name != "fix_data" or not self._dataset:
            return None
        if finding.code == "too_little_data" and job is not None:
            return self._measure_images(job) if job.has_ended else None
        page = f"/datasets/{self._dataset}{f'?{urlencode(self._query)}' if self._query else ''}"
        if finding.code in OF_LABELS:
            suspects = ["heldout", "datasets", "suspects", self._name, "--csv", "fixes.csv"]
            return Action("Look for wrong labels", shlex.join(suspects), f"{page}#suspects")
        return Action("Look at the data", shlex.join(["heldout", "datasets", "audit", self._name]), page)

    def fix_data(self, path: str, body: Mapping[str, Any]) -> Action:
        dataset = path.split("/")[3]
        page = f"/datasets/{dataset}?{urlencode({'fix': json.dumps(body, separators=(',', ':')), **self._query})}"
        return Action("Fix the data", format_fix_command(dataset, body), page)

    @property
    def dataset_page(self) -> str:
        """The dashboard's page of the dataset; empty if the service does not have it."""
        return f"/datasets/{self._dataset}" if self._dataset else ""

    def name_groups(self, size: int) -> Action:
        note = f"Groups of {size} or more would make this gap chance."
        command = "heldout datasets push FOLDER --group-by EXPRESSION"
        return Action("Say what belongs together", command, self.dataset_page, note=note)

    def list_studies(self, verdict: str) -> list[Block]:
        kind = FINDING_KINDS.get(verdict)
        if self._job is None or (kind is not None and not kind.is_curable):
            return []
        how = "A study trains with several remedies and seeds and compares them."
        command, page = f"heldout cure {self._job.id}", f"/studies/new?job={self._job.id}"
        return [Action("Measure what helps", command, page, note=how, is_main=verdict != "healthy")]

    def _train(self, job: JobView, remedy: str) -> Action:
        note = "Queue a new job with this change" if job.has_ended else "Available once the job has ended"
        command = f"heldout train --from {job.id} --remedy {remedy}"
        post, body = f"/v1/jobs/{job.id}/retry", {"remedy": remedy}
        return Action("Train with it", command, "/jobs/{id}", post, body, note, is_ready=job.has_ended)

    def _measure_images(self, job: JobView) -> Action:
        page = f"/studies/new?job={job.id}&kind=learning_curve"
        return Action("Would they help?", f"heldout curve {job.id}", page)


def _draw_gap(gap: GapBudgetView, *, is_share: bool) -> Table:
    """A bar for each step from training to test. Terms that widen the gap are positive: accuracy falls, loss rises."""
    unit, sign, words = (POINTS, -1, "percentage points") if is_share else (LOSS, 1, "nats")
    measured = [
        (term, term.accuracy, term.accuracy_interval) if is_share else (term, term.loss or 0.0, term.loss_interval)
        for term in gap.terms
    ]
    steps, level = [], _get_level(gap.train, is_share=is_share)
    for term, value, bounds in measured:
        if abs(value) >= (SMALLEST_SHARE if is_share else SMALLEST_LOSS):
            steps.append((term, level, level + sign * value, _turn(bounds, sign)))
        level += sign * value
    ends = [_get_level(split, is_share=is_share) for split in (gap.train, gap.test)]
    scale = choose_scale(
        [
            *ends,
            *(
                end
                for _, level, after, bounds in steps
                for end in (level, after, *(level + bound for bound in bounds or ()))
            ),
        ],
        0.0,
        100.0,
    )

    def draw_level(name: str, split: SplitResult, tone: Literal["train", "heldout"]) -> tuple[Cell, ...]:
        value = _get_level(split, is_share=is_share)
        text = percent(value) if is_share else format_loss(value)
        bar = Strip([make_mark("bar", scale, scale.low, value, tone)], f"{name}: {text}")
        return f"{name}, {pluralize(split.count, 'image')}", bar, text, "", "", ""

    rows = [draw_level("Training", gap.train, "train")]
    for term, before, after, turned in steps:
        change = after - before
        text, between = format_signed(unit, change, turned), format_signed_range(unit, change, turned)
        marks: list[Mark] = [make_mark("bar", scale, before, after, "worse" if sign * change > 0 else "better")]
        if turned is not None:
            marks.append(make_mark("range", scale, before + turned[0], before + turned[1], "may_be_chance"))
        cause = "" if term.finding is None else get_verdict_name(term.finding)
        rows.append((TERMS[term.code].name, Strip(marks, text), text, between, cause, term.explanation))
    rows.append(draw_level("Test", gap.test, "heldout"))
    whole = format_signed(unit, sign * (ends[1] - ends[0])).removeprefix("+")
    measure = "Accuracy" if is_share else "Loss"
    axis = make_axis(scale, factor=100 if is_share else 1)
    return Table(
        f"Where the gap of {whole} {'points' if is_share else words} comes from",
        ("step", axis, measure.lower(), "95% interval", "cause", "what it is"),
        rows,
        numbers=(2, 3),
        remarks=(5,),
        note=f"Changes are in {words}, with 95% confidence intervals. They add up from training to test.",
        name=measure,
    )


def _get_level(split: SplitResult, *, is_share: bool) -> float:
    return split.accuracy if is_share else split.loss or 0.0


def _turn(bounds: tuple[float, float] | None, sign: int) -> tuple[float, float] | None:
    if bounds is None:
        return None
    low, high = sorted(sign * bound for bound in bounds)
    return low, high


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]
