"""Follows a study's race from its first look until a training is missing or the race is decided. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.studies import planning
from analysis.studies.as_good import answer_arm
from analysis.studies.assessment import RELEVANT_ACCURACY, RELEVANT_SHARE_OF_LOSS, RemedyAssessment
from analysis.studies.figures import build_difference_view
from analysis.studies.racing import DropReason, Look, can_be_settled, find_drops, find_leader, list_cures
from analysis.studies.state import Arm, Purpose, RunKey, Scores, StudyRun, StudyState
from heldout.lifecycle.job import TERMINAL, JobStatus
from heldout.metrics import METRICS, Measure
from heldout.studies.spec import BASE_ARM
from heldout.views.study_figures import Answer
from heldout.words import studies as words
from heldout.words.as_good import say_answer

NO_ROOM = "The budget did not allow more seeds."


@dataclass
class RaceProgress:
    """The progress of a race.

    by_key: all trainings of the study.
    racing: arms still in the race, without the base. why: for each other arm, why it is out.
    held: arms that a first answer did not give more seeds, although they may still win.
    looks: the last look that each arm took part in. final: the last of all.
    patches: the choices of searches. needed: trainings of all looks so far.
    submit: missing trainings. waiting: whether others have not ended. error: why the study has failed.
    ended_early: why there is no further look, if the race was not decided.
    answers: whether arms are as good as the base, if that is asked.
    """

    state: StudyState
    by_key: Mapping[RunKey, StudyRun]
    racing: list[str]
    why: dict[str, str] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)
    patches: dict[str, Mapping[str, object]] = field(default_factory=dict)
    final: Look | None = None
    submit: list[RunKey] = field(default_factory=list)
    waiting: bool = False
    ended_early: str | None = None
    error: tuple[str, str] | None = None
    needed: set[RunKey] = field(default_factory=set)
    held: list[str] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    def drop(self, name: str, why: str) -> None:
        """End the race of an arm."""
        if name in self.racing:
            self.racing.remove(name)
            self.why[name] = why

    def follow(self) -> None:
        """Go through the looks until a training is missing or the race is decided."""
        if self.state.max_jobs is not None and planning.count_first_look_jobs(self.state) > self.state.max_jobs:
            first = f"The first look takes {planning.count_first_look_jobs(self.state)} trainings"
            self.error = ("budget_too_small", f"{first}; the budget allows {self.state.max_jobs}.")
            return
        for stage in planning.plan_stages(self.state):
            # Those that an earlier stage left undecided race on.
            self.racing += self.held + [arm.name for arm in self.state.arms[stage.new_from : stage.arms]]
            for name in self.held:
                del self.why[name]
            self.held = []
            if not self._follow_stage(stage):
                return

    def _follow_stage(self, stage: planning.Stage) -> bool:
        """Go through the looks of one stage. Returns whether the next stage follows."""
        new = self.state.arms[stage.new_from : stage.arms]
        for planned in stage.looks:
            if planned.only_leader:
                self._hold_others()
            names = [name for name in self.racing if self._count_seen(name) <= planned.seeds]
            if all(self._count_seen(name) == planned.seeds for name in names):
                continue  # there is nothing new to look at
            if planned.seeds_before and not self._afford(planned, names):
                return False
            untuned = [] if planned.seeds_before else self._tune(new)
            if not self._train(planned, names, untuned):
                return False
            if not self.racing:
                break
            look = self._look(planned, stage, [name for name in names if name in self.racing])
            if self.state.margin is not None:
                self._settle(look, self.state.margin)
                if not self.racing:
                    break
                continue
            self._drop_arms(look)
            # Decided if the leading arm is a cure that fresh seeds have confirmed.
            if find_leader(look, self.racing) in list_cures(look, unconfirmed=False):
                return False
            if not self.racing:
                break
            if planned.seeds == look.last_seeds and planning.has_fewer_looks(self.state):
                self.ended_early = NO_ROOM
        return True

    def _settle(self, look: Look, margin: float) -> None:
        """Note which arms are as good as the base; those that are, or are worse, need no more seeds."""
        for name in look.comparisons:
            answer = self.answers[name] = answer_arm(look, name, margin)
            if answer == "cannot_tell" and look.seeds < look.last_seeds:
                continue
            difference = build_difference_view(look.comparisons[name], look.error, look.measures)
            self.drop(name, say_answer(difference, answer, margin))

    def _count_seen(self, name: str) -> int:
        """Return the seeds of the last look that an arm took part in."""
        return self.looks[name].seeds if name in self.looks else 0

    def _hold_others(self) -> None:
        """Let only the leading arm race. The others wait until the study is continued."""
        look = self.final
        assert look is not None
        leader = find_leader(look, self.racing) or next(name for name in look.ranked if name in self.racing)
        self.held = [name for name in self.racing if name != leader]
        self.racing = [leader]
        self.why |= dict.fromkeys(self.held, words.say_held(leader))

    def _afford(self, planned: planning.PlannedLook, names: list[str]) -> bool:
        """Keep as many arms as the budget allows at one more look, the best first; False if it allows none."""
        before, new = planned.seeds_before, planned.seeds - planned.seeds_before
        room = len(names)
        if self.state.max_jobs is not None:
            room = min(room, (self.state.max_jobs - self.state.refits - len(self.needed)) // new - 1)
        if self.state.max_seconds is not None:
            earlier = [run for key, run in self.by_key.items() if key.seed < before or key.purpose is Purpose.TUNE]
            left = self.state.max_seconds - sum(run.seconds for run in earlier)
            each = sum(run.seconds for run in earlier) / max(len(earlier), 1)
            room = min(room, int(left / max(new * each, 1e-9)) - 1)
        if room < 1:
            self.ended_early = NO_ROOM
            return False
        best = sorted(names, key=lambda name: (-self.looks[name].comparisons[name].gain.mean, name))
        for name in best[room:]:
            names.remove(name)
            self.drop(name, "The budget did not allow more seeds for it, and other remedies looked better.")
        return True

    def _tune(self, new: Sequence[Arm]) -> list[str]:
        """Choose among the candidates of each search; returns the arms whose search continues."""
        untuned = []
        for arm in new:
            if not arm.candidates:
                continue
            keys = planning.list_tuning_keys(self.state, arm)
            missing = [key for key in keys if key not in self.by_key]
            self.needed |= {*keys}
            self.submit += missing
            if missing or any(self.by_key[key].status not in TERMINAL for key in keys):
                self.waiting = True
                untuned.append(arm.name)
                continue
            choice = _find_best_candidate(arm, [self.by_key[key] for key in keys], self.state.measures)
            if choice is None:
                self.drop(arm.name, "All trainings of its search failed.")
            else:
                self.patches[arm.name] = arm.candidates[choice]
        return untuned

    def _train(self, planned: planning.PlannedLook, names: Sequence[str], untuned: Sequence[str]) -> bool:
        """Request the missing trainings of a look; True if all of them exist and are done."""
        for name in (BASE_ARM, *names):
            if name in untuned or name in self.why:
                continue
            keys = planning.list_race_keys(self.state, name, range(planned.seeds))
            self.needed |= {*keys}
            there = [self.by_key[key] for key in keys if key in self.by_key]
            # When one training of an arm fails, the others are cancelled. Only the failed one says why.
            broken = min(filter(_has_failed, there), key=lambda run: run.status is JobStatus.CANCELLED, default=None)
            if broken is None:
                self.submit += [key for key in keys if key not in self.by_key]
            elif name != BASE_ARM:
                self.why[name] = _say_failed(broken)
            elif self.final is None:
                detail = f"No remedy can be compared with the base. {_say_failed(broken)}"
                self.error = ("base_failed", detail)
                return False
            else:  # the result of the previous look remains
                self.why[BASE_ARM] = _say_failed(broken)
                self.ended_early = f"More seeds cannot be compared with the base. {_say_failed(broken)}"
                self.submit = []
                return False
            self.waiting |= any(run.status not in TERMINAL for run in there)
        self.racing = [name for name in self.racing if name not in self.why]
        return not self.submit and not self.waiting

    def _look(self, planned: planning.PlannedLook, stage: planning.Stage, names: Sequence[str]) -> Look:
        scores = {name: self._collect_scores(name, planned.seeds) for name in (BASE_ARM, *names)}
        dropped = {
            name: look.scores[name][: planned.seeds]
            for name, look in self.looks.items()
            if name not in scores and look.seeds > 1
        }
        share = planning.count_comparisons(self.state, stage.arms)
        look = Look(
            scores,
            dropped,
            self.state.folds,
            seeds=planned.seeds,
            seeds_before=planned.seeds_before,
            error=planned.error / share,
            last_error=stage.last_error / share,
            last_seeds=planning.plan_look_seeds(self.state)[-1],
            measures=self.state.measures,
        )
        self.looks |= dict.fromkeys(names, look)
        self.final = look
        return look

    def _drop_arms(self, look: Look) -> None:
        base = look.scores[BASE_ARM]
        found = find_drops(look)
        if len(found) == len(look.comparisons):
            hopeless = [name for name, (reason, _) in found.items() if reason is DropReason.HOPELESS]
            unsure = [
                name
                for name, last_look in self.looks.items()
                if last_look.judgements[name].assessment is RemedyAssessment.OPEN
            ]
            # No arm will be a cure, but more seeds may still show that none helps.
            if set(unsure) == set(hopeless) and all(can_be_settled(look, name) for name in hopeless):
                found = {name: drop for name, drop in found.items() if name not in hopeless}
        for name, (reason, by) in found.items():
            difference = build_difference_view(look.comparisons[name], look.error, look.measures)
            if reason is DropReason.WORSE:
                smaller = is_gap_smaller(base, look.scores[name])
                why = words.say_worse(difference, look.unit.loss, look.judgements[name].worse, gap_is_smaller=smaller)
            elif reason is DropReason.NO_HELP:
                why = words.say_no_help(look.seeds, difference.measures, RELEVANT_ACCURACY, RELEVANT_SHARE_OF_LOSS)
            elif reason is DropReason.BEATEN:
                why = words.say_beaten(by or "")
            else:
                why = words.say_hopeless(difference, look.unit.loss, look.last_seeds)
            self.drop(name, why)

    def _collect_scores(self, name: str, seeds: int) -> tuple[Scores, ...]:
        found = (self.by_key[key].scores for key in planning.list_race_keys(self.state, name, range(seeds)))
        return tuple(scores for scores in found if scores is not None)


def follow(state: StudyState, by_key: Mapping[RunKey, StudyRun]) -> RaceProgress:
    """Follow a race to where it is now."""
    progress = RaceProgress(state, by_key, [])
    progress.follow()
    return progress


def _find_best_candidate(arm: Arm, runs: Sequence[StudyRun], measures: Sequence[Measure]) -> int | None:
    """Return the candidate with the smallest errors and loss, or what decides, relative to the candidates' mean.

    None if all failed.
    """
    figures: dict[int, dict[Measure, float]] = {}
    for variant in range(len(arm.candidates)):
        scores = [run.scores for run in runs if run.key.variant == variant]
        if scores and all(run is not None for run in scores):
            known = [run for run in scores if run is not None]
            loss = float(np.mean([run.losses.mean() for run in known]))
            figures[variant] = {"loss": loss, "accuracy": float(np.mean([1 - run.right.mean() for run in known]))}
            values = [run.objective.value for run in known if run.objective is not None]
            if values:
                found = float(np.mean(values))
                figures[variant][measures[0]] = 1 - found if METRICS[measures[0]].is_share else found
    if not figures:
        return None
    means = {measure: float(np.mean([of_each[measure] for of_each in figures.values()])) or 1.0 for measure in measures}
    return min(figures, key=lambda v: (sum(figures[v][measure] / means[measure] for measure in measures), v))


def is_gap_smaller(base: Sequence[Scores], runs: Sequence[Scores]) -> bool:
    """Return whether an arm's accuracy falls less from training to validation, and is lower in training."""

    def compute_means(scores: Sequence[Scores]) -> tuple[float, float]:
        """Return the mean gap from training to validation, and the mean training accuracy."""
        gaps = [run.train_accuracy - float(run.right.mean()) for run in scores]
        return float(np.mean(gaps)), float(np.mean([run.train_accuracy for run in scores]))

    (gap, trained), (base_gap, base_trained) = compute_means(runs), compute_means(base)
    return gap < base_gap and trained < base_trained


def _say_failed(run: StudyRun) -> str:
    return words.say_failed(run.key.seed, run.status, run.error)


def _has_failed(run: StudyRun) -> bool:
    """Return whether a training has ended without results to compare."""
    return run.status in TERMINAL and (run.status is not JobStatus.SUCCEEDED or run.scores is None)
