"""What the experiments of a proof have shown so far, for the diagnosis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from heldout.proofs.experiment import Judgement, Status

HEALTHY = "healthy"
# Causes that a fault of training brings about. What is proven of them comes before the parts of a gap.
OF_TRAINING = ("diverged", "underfitting", "not_converged")


@dataclass(frozen=True)
class Tried:
    """One experiment that has ended.

    reads_test: whether its figures come from labels of the test split. trainings: how many it took.
    """

    experiment: str
    title: str
    question: str
    judgement: Judgement
    trainings: int = 0
    reads_test: bool = False


@dataclass(frozen=True)
class Outcomes:
    """The experiments of one proof that have ended, in the order in which they were run."""

    tried: Sequence[Tried] = ()

    def get_answer(self, code: str) -> Status | None:
        """Whether a cause is proven or refuted. If experiments contradict each other, neither."""
        answers = {tried.judgement.answers[code] for tried in self.tried if code in tried.judgement.answers}
        return answers.pop() if len(answers) == 1 else None

    def find_proof(self, code: str) -> Tried | None:
        """Find the experiment that proves a cause."""
        if self.get_answer(code) != "proven":
            return None
        return next(tried for tried in self.tried if tried.judgement.answers.get(code) == "proven")

    @property
    def proven(self) -> list[str]:
        """The proven causes: those of training first."""
        codes = {code: None for tried in self.tried for code in tried.judgement.answers}
        proven = [code for code in codes if self.get_answer(code) == "proven"]
        order = [code for code in OF_TRAINING if code in proven]
        return [*order, *(code for code in proven if code not in order)]

    def is_healthy(self) -> bool:
        """Whether a training without a fault is proven: neither longer training nor a larger network gains anything."""
        return all(self.get_answer(code) == "refuted" for code in ("not_converged", "underfitting"))

    def without_test(self) -> "Outcomes":
        """Leave out what was decided by test labels."""
        return Outcomes(tuple(tried for tried in self.tried if not tried.reads_test))


NOTHING_TRIED = Outcomes()


def to_json(tried: Tried) -> dict[str, Any]:
    judgement = tried.judgement
    return {
        "experiment": tried.experiment,
        "title": tried.title,
        "question": tried.question,
        "status": judgement.status,
        "sentence": judgement.sentence,
        "answers": dict(judgement.answers),
        "points": judgement.points,
        "interval": None if judgement.interval is None else list(judgement.interval),
        "trainings": tried.trainings,
        "reads_test": tried.reads_test,
    }


def from_json(stored: Mapping[str, Any]) -> Tried:
    interval = stored["interval"]
    judgement = Judgement(
        stored["status"],
        stored["sentence"],
        stored["answers"],
        stored["points"],
        None if interval is None else (interval[0], interval[1]),
    )
    about = (stored["experiment"], stored["title"], stored["question"])
    return Tried(*about, judgement, stored["trainings"], stored["reads_test"])
