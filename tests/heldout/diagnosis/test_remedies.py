"""Remedies of a diagnosis: patches that change the spec, and nothing that the spec already has."""

import pytest

from heldout.diagnosis import Evaluation, SuggestedRemedy, diagnose
from heldout.remedies.images import MILD_AUGMENTATION
from heldout.spec.job import JobSpec
from tests.heldout.diagnosis.made import FINE, OVERFIT, compare_last, falling, figures, history, spec
from tests.merge_patch import merged

FALLS = history(falling(10, 0.0, 0.05), falling(10, 0.1, 0.05))
FLAT = history([2.3] * 12, [2.3] * 12)
GUESSING = Evaluation({"train": figures(0.1, 500), "validation": figures(0.1, 200)}, tuple(map(str, range(10))))
FULL = {"dropout": 0.3, "l2": 0.01}


def remedies_of(code: str, *known: object) -> dict[str, SuggestedRemedy]:
    [finding] = [finding for finding in diagnose(*known).findings if finding.code == code]
    return {remedy.name: remedy for remedy in finding.remedies}


def apply_remedy(before: dict, remedy: SuggestedRemedy) -> dict:
    """Apply the patch, and check that the spec is valid and different."""
    after = JobSpec.model_validate(merged(before, remedy.patch)).model_dump(mode="json")
    assert after != before
    return after


def test_each_remedy_for_overfitting_makes_the_named_change():
    before = spec()
    after = {
        name: apply_remedy(before, remedy)
        for name, remedy in remedies_of("overfitting", OVERFIT, None, None, before).items()
    }
    assert list(after) == ["early_stopping", "augmentation", "dropout", "l2", "smaller_network"]
    assert after["early_stopping"]["training"]["early_stopping"]["restore_best"] is True
    assert after["dropout"]["network"]["blocks"][0]["dropout"] == 0.25
    assert after["augmentation"]["augmentation"]["rotation_degrees"] == 10
    assert after["l2"]["network"]["l2"] == 0.001
    assert after["smaller_network"]["network"]["blocks"][0]["filters"] == 8


def test_remedies_that_the_spec_already_has_are_not_suggested():
    network = {"blocks": [{"filters": 8, **FULL}], "dense": [{"units": 16, **FULL}], "l2": 0.01}
    stops = {"early_stopping": {"monitor": "validation_loss", "restore_best": True}}
    full = spec(network, training=stops, augmentation=MILD_AUGMENTATION)
    assert remedies_of("overfitting", OVERFIT, None, None, full) == {}


@pytest.mark.parametrize(
    "stops",
    [{"monitor": "validation_accuracy", "patience": 30}, {"restore_best": False, "patience": 30}],
)
def test_early_stopping_that_does_not_keep_the_best_weights_is_corrected(stops):
    before = spec(training={"early_stopping": stops})
    after = apply_remedy(before, remedies_of("overfitting", OVERFIT, None, None, before)["early_stopping"])
    assert after["training"]["early_stopping"] | {"patience": 0} == {
        "monitor": "validation_loss",
        "patience": 0,
        "min_delta": 0.0,
        "restore_best": True,
    }


def test_twice_the_epochs_are_suggested_after_all_epochs_are_done():
    before = spec(training={"epochs": 10})
    after = apply_remedy(before, remedies_of("not_converged", FALLS, None, None, before)["more_epochs"])
    assert after["training"]["epochs"] == 20
    assert after["training"]["early_stopping"]["restore_best"]
    assert after["training"]["early_stopping"]["patience"] == 10


def test_more_epochs_keep_the_best_epoch_unless_the_spec_already_does():
    for given, added in (
        ({"early_stopping": {"patience": 3, "restore_best": False}}, {"early_stopping": {"restore_best": True}}),
        ({"early_stopping": {"patience": 3}}, {}),
        ({"on_overfit": "stop_and_restore"}, {}),
    ):
        before = spec(training={"epochs": 10, **given})
        remedy = remedies_of("not_converged", FALLS, None, None, before)["more_epochs"]
        assert remedy.patch == {"training": {"epochs": 20, **added}}


def test_twice_the_patience_is_suggested_if_the_kept_epoch_is_worse_than_the_last():
    last = compare_last(40, 20, "test", 1000, -0.03, (-0.05, -0.01), 0.01, -0.1, (-0.12, -0.08))
    known = (FINE, None, Evaluation({}, (), last))
    for patience, wanted in ((5, 10), (60, 100)):
        before = spec(training={"early_stopping": {"patience": patience}})
        after = apply_remedy(before, remedies_of("not_converged", *known, before)["more_patience"])
        assert after["training"]["early_stopping"]["patience"] == wanted
    for before in (spec(), spec(training={"early_stopping": {"patience": 100}})):
        assert remedies_of("not_converged", *known, before) == {}


def test_a_training_with_epochs_left_should_continue():
    """A patch based on the epochs done so far could shorten the training, or be shorter than its warm-up."""
    running = spec(training={"epochs": 900, "schedule": {"name": "cosine", "warmup_epochs": 400}})
    remedy = remedies_of("not_converged", FALLS, None, None, running)["more_epochs"]
    assert remedy.patch is None
    assert "10 of 900 epochs are done" in remedy.reason


def test_more_than_a_thousand_epochs_are_never_suggested():
    longest = history(falling(1000, 0.0, 0.0005), falling(1000, 0.1, 0.0005))
    assert remedies_of("not_converged", longest, None, None, spec(training={"epochs": 1000})) == {}
    before = spec(training={"epochs": 600})
    half = history(falling(600, 0.0, 0.0005), falling(600, 0.1, 0.0005))
    after = apply_remedy(before, remedies_of("not_converged", half, None, None, before)["more_epochs"])
    assert after["training"]["epochs"] == 1000


def test_a_flat_loss_is_not_called_falling():
    flat = history([2.3] * 5, [2.3] * 5)
    remedy = remedies_of("not_converged", flat, None, GUESSING, spec(training={"epochs": 5}))["more_epochs"]
    assert "still falling" not in remedy.reason


def test_an_underfitting_network_is_made_larger_or_loses_all_regularization():
    network = {"blocks": [{"filters": 16, **FULL}], "dense": [{"units": 16, **FULL}], "l2": 0.01}
    decaying = {"optimizer": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 1.0}}
    before = spec(network, training=decaying | {"mixup": 0.2}, augmentation={"zoom": 0.1})
    found = remedies_of("underfitting", FLAT, None, GUESSING, before)
    assert apply_remedy(before, found["larger_network"])["network"]["blocks"][0]["filters"] == 32
    freed = apply_remedy(before, found["less_regularisation"])
    assert freed == spec(
        {"dense": [{"units": 16}]},
        training={"optimizer": {"name": "adamw", "learning_rate": 0.01, "weight_decay": 0.0}},
    )


def test_the_largest_unregularized_network_has_no_remedy():
    assert remedies_of("underfitting", FLAT, None, GUESSING, spec({"blocks": [{"filters": 1024}]})) == {}


def test_a_diverging_training_gets_a_tenth_of_its_learning_rate():
    before = spec(training={"optimizer": {"name": "sgd", "learning_rate": 0.5}})
    climbing = history([2.3 + 0.5 * epoch for epoch in range(8)], [2.3] * 8)
    after = apply_remedy(before, remedies_of("diverged", climbing, None, None, before)["lower_learning_rate"])
    assert after["training"]["optimizer"]["learning_rate"] == pytest.approx(0.05)


def test_without_a_spec_there_is_nothing_to_patch():
    for known in (("overfitting", OVERFIT), ("not_converged", FALLS), ("underfitting", FLAT, None, GUESSING)):
        assert all(remedy.patch is None for remedy in remedies_of(*known).values())
    assert diagnose(FINE).findings == ()
