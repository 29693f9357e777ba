"""Retries a job that has ended: unchanged, for more epochs, or with a change of its spec. Pure."""

from typing import Any

from pydantic import Field, model_validator

from heldout.errors import InvalidSpec
from heldout.lifecycle.job import StopReason
from heldout.spec.job import MAX_NAME_CHARACTERS, JobSpec, SpecPart
from heldout.words.labels import describe_remedy


class RetrySpec(SpecPart):
    """At most one of three changes; without any the job is repeated unchanged."""

    epochs: int | None = Field(
        None, ge=1, le=1000, description="Continue from the last state, up to this many epochs in total."
    )
    remedy: str | None = Field(
        None,
        min_length=1,
        max_length=64,
        description="The name of a remedy, such as `dropout`; as offered by the job's diagnosis, if it is.",
    )
    patch: dict[str, Any] | None = Field(None, description="A merge patch (RFC 7396) of the job's spec.")

    @model_validator(mode="after")
    def _at_most_one(self) -> "RetrySpec":
        given = [name for name in ("epochs", "remedy", "patch") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of `epochs`, `remedy` and `patch`, not {' and '.join(given)}")
        return self


def add_remedy_to_name(name: str, remedy: str) -> str:
    """The name of a job that tries a remedy on the job `name`, such as `mine + dropout`. A long name is cut off."""
    tail = f" + {describe_remedy(remedy)}"
    return name[: MAX_NAME_CHARACTERS - len(tail)].rstrip() + tail


def extend_spec(spec: JobSpec, stop_reason: str | None, done: int, epochs: int) -> JobSpec:
    """Return the spec with this many epochs, if continuing gives the bits of a training that had them from the start.

    Args:
        done: complete epochs in the state from which the job would continue.
    Raises:
        InvalidSpec: there is nothing to continue with, or the learning rates so far depended on the number of epochs.
    """
    if epochs <= done:
        raise InvalidSpec.at("/epochs", f"{done:,} epochs are done already; to continue, use {done + 1:,} or more.")
    if stop_reason in {StopReason.EARLY_STOPPED, StopReason.OVERFIT_GUARD}:
        what = "early stopping" if stop_reason == StopReason.EARLY_STOPPED else "the guard against overfitting"
        raise InvalidSpec.at(
            "/epochs",
            f"The job was stopped by {what} after epoch {done:,}, and would be stopped again at once. To continue "
            'without it, retry with {"patch": {"training": {"early_stopping": null, "on_overfit": "none", '
            '"epochs": …}}}.',
        )
    if spec.training.schedule.depends_on_epochs and epochs != spec.training.epochs:
        raise InvalidSpec.at(
            "/epochs",
            f"With the {spec.training.schedule.name} schedule, every learning rate so far depended on the total of "
            f"{spec.training.epochs:,} epochs, so the job can only continue up to {spec.training.epochs:,}. To train "
            f'from scratch for {epochs:,} epochs, retry with {{"patch": {{"training": {{"epochs": {epochs}}}}}}}.',
        )
    return spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": epochs})})
