"""The winner's final training: on all images, for the best number of epochs, with nothing left to choose."""

import pytest

from heldout.spec.job import JobSpec
from heldout.studies.refit import make_refit_spec


def base(**training) -> JobSpec:
    return JobSpec.model_validate(
        {
            "name": "base",
            "dataset": "digits",
            "network": {"blocks": [{"filters": 8}]},
            "training": {"epochs": 40, "seed": 7, **training},
            "validation": {"folds": 5, "fold": 2},
        }
    )


def test_a_refit_trains_the_winner_without_anything_that_needs_validation():
    won = {"network": {"l2": 0.01}, "training": {"early_stopping": {"patience": 5}, "on_overfit": "warn"}}
    refit = make_refit_spec(base(train_limit=500), won, 12)
    assert (refit.network.l2, refit.training.epochs, refit.training.seed, refit.training.train_limit) == (
        0.01,
        12,
        7,
        500,
    )
    assert (refit.has_validation, refit.evaluation.test) == (False, "never")
    assert refit == JobSpec.model_validate(
        {
            **base(train_limit=500, epochs=12).model_dump(mode="json"),
            "network": {"blocks": [{"filters": 8}], "l2": 0.01},
            "validation": {"use": "train"},
            "evaluation": {"test": "never"},
        }
    )


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "reduce_on_plateau", "patience": 2}, {"name": "constant"}),
        ({"name": "cosine", "warmup_epochs": 10}, {"name": "cosine", "warmup_epochs": 2}),
    ],
    ids=["plateau", "cosine"],
)
def test_a_refits_schedule_depends_on_its_own_epochs(schedule, expected):
    refit = make_refit_spec(base(schedule=schedule), {}, 3)
    assert refit.training.schedule.model_dump(mode="json") == expected
