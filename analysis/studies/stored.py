"""Stores a study's fixed plan as JSON, and the measurements of its trainings and evaluation as bytes."""

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from analysis.answers.metrics import Contributions
from analysis.studies.state import Arm, Recording, Scores, StudyState, TestScores

# The key of the initial weights in a job's first event, as stored plans have it.
STORED_EVENT = "told"


@dataclass(frozen=True)
class ArmPlan(Arm):
    """An arm, and the columns of each of its jobs' rows.

    initial: the initial weights of its networks, as in a job's row, with `message` and `STORED_EVENT` for its first
    event; None without any. backbone: the backbone before their blocks, as in a job's row.
    file: the copy of those weights, or of the backbone, that belongs to the study, as an artifact's row.
    """

    parameters: int = 0
    initial: Mapping[str, Any] | None = None
    backbone: Mapping[str, Any] | None = None
    file: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        """The number of its network's parameters."""
        return self.parameters


@dataclass(frozen=True)
class StudyPlan(StudyState):
    """The state of a study when it begins, with the columns of its jobs' rows.

    data: what its order said about faults of the job's data. notes: what it cannot do, for people.
    """

    arms: tuple[ArmPlan, ...]
    data: Literal["fix", "as_they_are"] | None = None
    notes: tuple[str, ...] = ()

    def arm(self, name: str) -> ArmPlan:
        """Return the arm of this name. Raises StopIteration if there is none."""
        return next(arm for arm in self.arms if arm.name == name)

    def to_json(self) -> dict[str, Any]:
        """Return it as stored in the study's row."""
        stored = asdict(self)
        for arm in stored["arms"]:
            arm["arm"] = {part.name: arm.pop(part.name) for part in fields(Arm)}
        for name in ("tested", "test_failed"):  # columns of their own
            del stored[name]
        # Earlier releases, which may read it, know no such fields.
        for name in (
            "recording",
            "objective",
            "costs",
            "group_column",
            "margin",
            "data",
            "stages",
            "left_out",
            "notes",
        ):
            if not stored[name]:
                del stored[name]
        return stored

    def to_text(self) -> str:
        """Write the same as text."""
        return json.dumps(self.to_json())

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "StudyPlan":
        """Restore the result of `to_json`. Fields that studies of earlier releases lack get their defaults."""
        arms = _ARMS.validate_python([{**arm, **arm["arm"]} for arm in stored["arms"]])
        recording = stored.get("recording")
        if recording is not None:
            # In the order of the arms, which PostgreSQL's JSON does not keep.
            runs = {arm.name: recording["runs"][arm.name] for arm in arms}
            recording = _RECORDING.validate_python({**recording, "runs": runs})
        lists = {name: tuple(stored.get(name, ())) for name in ("sizes", "stages", "left_out", "notes")}
        return cls(**{**stored, **lists, "arms": arms, "recording": recording})


_ARMS, _RECORDING = TypeAdapter(tuple[ArmPlan, ...]), TypeAdapter(Recording)


def pack_scores(scores: Scores) -> bytes:
    """Pack the scores of one training as a compressed `.npz`. The same scores give the same bytes."""
    return pack_arrays(
        pack_contributions(scores.objective)
        | {
            "images": scores.images.astype(np.int32),
            "losses": scores.losses.astype(np.float32),
            "right": np.packbits(scores.right),
            "train": np.array([scores.train_loss, scores.train_accuracy], np.float64),
            "counts": np.array([scores.train_images, scores.kept_epoch], np.int64),
        }
    )


def unpack_scores(content: bytes) -> Scores:
    """Restore the argument of `pack_scores`."""
    stored = unpack_arrays(content)
    right = _unpack_bits(stored["right"], len(stored["images"]))
    train_loss, train_accuracy = stored["train"].tolist()
    train_images, kept_epoch = stored["counts"].tolist()
    known = (train_loss, train_accuracy, train_images, kept_epoch)
    return Scores(stored["images"], stored["losses"], right, *known, objective=unpack_contributions(stored))


def pack_contributions(found: Contributions | None, suffix: str = "") -> dict[str, NDArray[Any]]:
    """Return what images contribute to a study's objective as arrays; none for accuracy and loss."""
    if found is None:
        return {}
    return {
        f"objective{suffix}": np.append(found.value, found.of_image),
        f"strata{suffix}": found.strata.astype(np.int32),
    }


def unpack_contributions(stored: Mapping[str, NDArray[Any]], suffix: str = "") -> Contributions | None:
    """Restore the argument of `pack_contributions`."""
    if f"objective{suffix}" not in stored:
        return None
    value, *_ = packed = stored[f"objective{suffix}"]
    return Contributions(float(value), packed[1:], stored[f"strata{suffix}"].astype(np.int64))


def pack_tested(tested: TestScores) -> bytes:
    """Return the results of the evaluation of base and winner as a compressed `.npz`."""
    arrays: dict[str, NDArray[Any]] = {}
    for job, losses in tested.losses.items():
        arrays[f"losses/{job}"] = losses.astype(np.float32)
        arrays[f"right/{job}"] = np.packbits(tested.right[job])
        arrays |= pack_contributions(tested.objective.get(job), f"/{job}")
    return pack_arrays(arrays)


def unpack_tested(content: bytes) -> TestScores:
    """Restore the argument of `pack_tested`."""
    stored = unpack_arrays(content)
    losses = {name.removeprefix("losses/"): array for name, array in stored.items() if name.startswith("losses/")}
    objective = {job: found for job in losses if (found := unpack_contributions(stored, f"/{job}")) is not None}
    right = {job: _unpack_bits(stored[f"right/{job}"], len(losses[job])) for job in losses}
    return TestScores(losses, right, objective)


def pack_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Pack arrays as a compressed `.npz`."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **dict(arrays))
    return file.getvalue()


def unpack_arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Restore the argument of `pack_arrays`."""
    with np.load(io.BytesIO(content)) as stored:
        return {name: stored[name] for name in stored.files}


def _unpack_bits(packed: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    return np.unpackbits(packed, count=count).astype(np.bool_)


# --- the plan of a study that waits for something before it can begin --------------------------------------

WaitsFor = Literal["fixed_version", "copies"]
# The key that only the plan of a waiting study has: the order as received.
ASKED = "asked"
# What the study waits for. The braces stand for the version.
WAITS_FOR: Mapping[WaitsFor, str] = {
    "fixed_version": "the fixed version {} is being made",
    "copies": "the search for copies in {} has not ended",
}


def has_begun(plan: Mapping[str, Any]) -> bool:
    """Return whether the plan belongs to a study whose trainings are known."""
    return ASKED not in plan


def describe_wait(plan: Mapping[str, Any], version: str) -> str | None:
    """Say what is being done before the study can begin; None once it has begun.

    Args:
        version: of the dataset, `name@version`.
    """
    return None if has_begun(plan) else WAITS_FOR[plan["waits_for"]].format(version)
