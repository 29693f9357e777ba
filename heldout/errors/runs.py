"""Refusals about the trainings of a study that run elsewhere."""

from heldout.errors.base import HeldoutError


class RunNotFound(HeldoutError, code="run_not_found", status=404, title="There is no such run"):
    """The study has no such training that runs elsewhere."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"This study has no run {run_id[:80]!r}. GET /v1/studies/{{study_id}}/runs lists its runs.")


class RunReplaced(HeldoutError, code="run_replaced", status=409, title="The training belongs to another runner"):
    """Another runner has this training of a study, or its result is already there."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"This token does not hold {run_id} any longer. Stop this training, and ask for the next one.")


class RunNotTold(HeldoutError, code="run_not_told", status=409, title="The training has no result yet"):
    """The training has no result yet."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"{run_id} has no result yet, so it has no diagnosis. Wait for its result.")


class TunerTrials(
    HeldoutError, code="tuner_trials", status=422, title="These are trials of a tuner, not runs to compare"
):
    """The runs of a recording are trials of a tuner: each setting was tried once."""

    def __init__(self, single: int, arms: int) -> None:
        super().__init__(
            f"{single:,} of {arms:,} arms have a single run. A tuner tries each setting once, so nothing shows how "
            f"much a figure varies by chance, and the best of {arms:,} is partly the luckiest. Train the base and the "
            "most promising settings with at least 3 seeds each, and compare those."
        )


class RunsDisagree(HeldoutError, code="runs_disagree", status=409, title="Two trainings cannot be compared"):
    """A training of a study answers other images or classes than another, or two seeds give the same answers."""

    def __init__(self, run_id: str, other: str, why: str) -> None:
        super().__init__(f"{run_id} cannot be compared with {other}. {why}")
