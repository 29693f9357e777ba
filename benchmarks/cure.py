"""How long a study takes, compared with a script that trains the same networks in sequence with Keras' `fit`.

Both train the base and six remedies with three seeds each. Then the study continues with its race. A script that does
not look at results in between has to train every network with as many seeds as the study's last look.
"""

import json
import time
from pathlib import Path
from typing import Any

from benchmarks import naive
from examples.demo import TemporaryService
from heldout.client.client import Client
from heldout.spec.documents import merge
from heldout.views.study import StudyView

ROOT = Path(__file__).resolve().parent.parent
REMEDIES = ("augmentation", "dropout", "horizontal_flip", "l2", "label_smoothing", "weight_decay")
SEEDS, SEEDS_OF_LAST_LOOK = 3, 8
IMAGES, EPOCHS = 1000, 10
FIRST_LOOK_TARGET, RACE_TARGET = 0.35, 0.2


def main() -> None:
    """Print the seconds of both sides, and their ratios before and with the race."""
    with TemporaryService() as service, Client(service.url, service.api_key) as client:
        first_look_s, study = _study(client)
    if study.status != "succeeded" or study.conclusion is None:
        raise SystemExit(f"The study is {study.status}: {study.error}")
    # Runs after the study, which has the machine to itself.
    in_turn = naive.train_in_turn(_specs(study))
    naive_s = sum(one.wall_s for one in in_turn)
    grid_s = naive_s * SEEDS_OF_LAST_LOOK / SEEDS
    trainings, grid = len(study.arms) * SEEDS, len(study.arms) * SEEDS_OF_LAST_LOOK
    raced = sum(len(arm.jobs) for arm in study.arms)
    whole_s = _seconds(study)
    print(f"The base and {len(REMEDIES)} remedies, {IMAGES:,} digits, {EPOCHS} epochs of examples/overfit.json:")
    _print(f"{trainings} trainings in a naive script, s", naive_s)
    _print(f"{trainings} trainings of a study's first look, s", first_look_s)
    _print(f"ratio (at most {FIRST_LOOK_TARGET})", first_look_s / naive_s)
    _print(f"{grid} trainings in a naive script, s ({SEEDS_OF_LAST_LOOK}/{SEEDS} of the first line)", grid_s)
    _print(f"the whole study, {raced} trainings and the test, s", whole_s)
    _print(f"ratio (at most {RACE_TARGET})", whole_s / grid_s)
    print(f"  its answer: {study.conclusion.explanation}")


def _study(client: Client) -> tuple[float, StudyView]:
    """Return the seconds from the order to the last training of the first look, and the study at its end."""
    # An idle worker measures its machine once, and would do so during the first trainings.
    while client.jobs.estimate(_base()).seconds_per_epoch is None:
        time.sleep(1)
    ordered = client.studies.create({"spec": _base(), "remedies": list(REMEDIES), "seeds": SEEDS, "splits": "fixed"})
    for study in client.studies.watch(ordered.id):  # noqa: B007  (the last one is the answer)
        pass
    ends = [client.jobs.get(job).finished_at for arm in study.arms for job in arm.jobs[:SEEDS]]
    return max((end - study.created_at).total_seconds() for end in ends if end is not None), study


def _base() -> dict[str, Any]:
    spec: dict[str, Any] = json.loads((ROOT / "examples" / "overfit.json").read_text("utf-8"))
    spec["training"] |= {"epochs": EPOCHS, "train_limit": IMAGES}
    return spec


def _specs(study: StudyView) -> list[dict[str, Any]]:
    """The specs of the first look's trainings, as a script would have them."""
    base = study.spec.model_dump(mode="json") | {"dataset": _base()["dataset"]}  # without the pinned version
    seeds = [{"training": {"seed": seed}} for seed in range(SEEDS)]
    return [merge(merge(base, arm.patch), seed) for arm in study.arms for seed in seeds]


def _seconds(study: StudyView) -> float:
    assert study.finished_at is not None
    return (study.finished_at - study.created_at).total_seconds()


def _print(name: str, value: float) -> None:
    print(f"  {name:<56} {value:8.2f}")
