"""What experiments prove, what they refute, which one comes first, and what the diagnosis says then."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heldout.diagnosis import diagnose
from heldout.diagnosis.history import read_history
from heldout.proofs import thresholds
from heldout.proofs.catalogue import EXPERIMENTS
from heldout.proofs.experiment import Judgement, Subject
from heldout.proofs.figures import Figures, Split, compare, pack_right
from heldout.proofs.order import is_proven, list_open
from heldout.proofs.outcomes import Outcomes, Tried, from_json, to_json
from heldout.proofs.planning import Budget, list_impossible, plan, spread_probabilities
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec
from heldout.verdicts import FAULTS, FINDING_KINDS
from heldout.views.diagnosis import DiagnosisView

IMAGES = 2000
EXAMPLE = json.loads((Path(__file__).parents[3] / "examples" / "overfit.json").read_text())
SPEC = JobSpec.model_validate(EXAMPLE).complete(name="a job", seed=1).model_dump(mode="json")
PLENTY = Budget(20, 50.0)


def answers(accuracy: float, *, loss: float = 0.5, train: float = 0.99, epochs: int = 10) -> Figures:
    """Figures of weights that get the first images right. A better network also knows what a worse one knows."""
    right = round(accuracy * IMAGES)
    bits = pack_right([number < right for number in range(IMAGES)])
    return Figures(Split(train, 0.1, 3600), Split(right / IMAGES, loss, IMAGES), bits, epochs)


def subject(verdict: str = "not_converged", confidence: float | None = 0.6, **changes: Any) -> Subject:
    fields: dict[str, Any] = {
        "spec": SPEC,
        "counts": {"train": 3600, "validation": IMAGES, "test": 1000},
        "figures": answers(0.80),
        "verdict": verdict,
        "probabilities": spread_probabilities(verdict, confidence, [verdict]),
        "can_continue": True,
    }
    return Subject(**{**fields, **changes})


def tried(of: Subject, done: Mapping[str, Figures | None]) -> dict[str, Any]:
    return {item.experiment: item.judgement for item in plan(of, done, PLENTY).outcomes.tried}


def test_a_paired_difference_has_the_variance_of_its_images() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.random(IMAGES) < 0.8, rng.random(IMAGES) < 0.83
    pairs = [
        Figures(Split(1, 0, 1), Split(right.mean(), 0.5, IMAGES), pack_right(right.tolist()))
        for right in (before, after)
    ]
    effect = compare([(pairs[0], pairs[1])])
    assert effect is not None
    difference = after.astype(float) - before
    assert effect.points == pytest.approx(difference.mean())
    of_images = effect.deviation**2 - 2 * 0.007**2
    assert of_images == pytest.approx(difference.var() / IMAGES, rel=0.02)


def test_the_first_experiment_settles_most_of_the_verdict_for_its_work() -> None:
    steps = plan(subject(), {}, PLENTY).steps
    assert steps[0].experiment == "longer"
    assert [variant.continues for variant in steps[0].variants] == [True]
    assert plan(subject("too_little_data"), {}, PLENTY).steps[0].experiment == "half"
    assert plan(subject("underfitting"), {}, PLENTY).steps[0].experiment in {"memorize", "larger"}


def test_without_a_state_longer_training_begins_anew_and_costs_more() -> None:
    early = {**SPEC, "training": {**SPEC["training"], "early_stopping": {"patience": 2}}}
    continued, restarted = (
        next(step for step in plan(of, {}, PLENTY).steps if step.experiment == "longer")
        for of in (subject(), subject(spec=early, can_continue=False, stopped_early=True))
    )
    assert restarted.work > 2 * continued.work
    [variant] = restarted.variants
    assert not variant.continues
    assert variant.patch["training"] == {"epochs": 15, "early_stopping": {"patience": 15}}


def test_a_clear_gain_of_more_epochs_proves_that_training_ended_too_early() -> None:
    found = plan(subject(), {"longer": answers(0.86, epochs=15)}, PLENTY)
    assert (found.verdict, found.reason, found.steps) == ("not_converged", "proven", ())
    [item] = found.outcomes.tried
    assert item.judgement.sentence.startswith("Five more epochs gain 6.0 points (+")
    assert item.judgement.sentence.endswith("): it ended too early.")


def test_more_epochs_without_a_gain_refute_it() -> None:
    found = plan(subject(), {"longer": answers(0.801, epochs=15)}, PLENTY)
    [item] = found.outcomes.tried
    assert item.judgement.answers == {"not_converged": "refuted"}
    assert item.judgement.sentence == "Five more epochs gain 0.1 points (−1.8 to +2.0): it had ended."
    assert found.verdict != "not_converged"
    assert found.probabilities["not_converged"] == 0


def test_a_loss_that_still_falls_is_not_called_its_end() -> None:
    assert tried(subject(), {"longer": answers(0.801, loss=0.4, epochs=15)})["longer"].status == "open"


def test_an_effect_within_the_noise_of_seeds_needs_a_second_seed() -> None:
    of = subject(confidence=0.9)
    once = {"longer": answers(0.819, epochs=15)}
    found = plan(of, once, PLENTY)
    again = next(step for step in found.steps if step.experiment == "longer")
    assert {variant.key: variant.seed for variant in again.variants} == {"base+1": 1, "longer+1": 1}
    assert found.outcomes.get_answer("not_converged") is None
    twice = {**once, "base+1": answers(0.80), "longer+1": answers(0.83, epochs=15)}
    assert plan(of, twice, PLENTY).outcomes.get_answer("not_converged") == "proven"
    luck = {**once, "base+1": answers(0.815), "longer+1": answers(0.812, epochs=15)}
    assert plan(of, luck, PLENTY).outcomes.get_answer("not_converged") != "proven"


def test_a_tenth_of_a_learning_rate_that_is_too_high_proves_it() -> None:
    done = {"rate_low": answers(0.9), "rate_high": None}
    judgement = tried(subject("diverged"), done)["rates"]
    assert judgement.answers == {"diverged": "proven", "learning_rate_too_high": "proven"}
    assert "A tenth of the learning rate gains 10.0 points" in judgement.sentence


def test_a_network_that_cannot_memorize_64_images_is_at_fault() -> None:
    failed = Figures(Split(0.2, 2.0, 64), None, "", 20)
    assert tried(subject("underfitting"), {"memorize": failed})["memorize"].answers == {"underfitting": "proven"}
    learned = Figures(Split(1.0, 0.0, 64), None, "", 20)
    assert tried(subject("underfitting"), {"memorize": learned})["memorize"].answers == {}


def test_half_of_the_images_costs_points_only_where_data_are_short() -> None:
    of = subject("too_little_data")
    assert plan(of, {"half": answers(0.74)}, PLENTY).reason == "proven"
    assert tried(of, {"half": answers(0.80)})["half"].answers == {"too_little_data": "refuted"}
    assert "half of the images gains 3.0 points (+" in tried(of, {"half": answers(0.83)})["half"].sentence


def test_three_seeds_show_whether_a_gap_is_luck() -> None:
    of = subject("overfitting")
    lasting = {"base+1": answers(0.805), "base+2": answers(0.795)}
    assert tried(of, lasting)["seeds"].status == "proven"
    none = subject("overfitting", figures=answers(0.80, train=0.80))
    luck = {"base+1": answers(0.81, train=0.808), "base+2": answers(0.79, train=0.793)}
    assert tried(none, luck)["seeds"].answers == {"overfitting": "refuted", "too_little_data": "refuted"}


def test_the_budget_bounds_trainings_and_work() -> None:
    assert plan(subject(), {}, Budget(1, 50.0)).steps[0].experiment == "longer"
    assert sum(len(step.variants) for step in plan(subject(), {}, Budget(3, 50.0)).steps) <= 3
    small = plan(subject(), {}, Budget(20, 0.1))
    assert (small.steps, small.reason) == ((), "budget")


def test_a_training_without_a_fault_is_proven_if_neither_more_epochs_nor_a_larger_network_gains() -> None:
    done = {"longer": answers(0.8, epochs=15), "larger": answers(0.8)}
    found = plan(subject("healthy"), done, PLENTY)
    assert (found.verdict, found.reason) == ("healthy", "proven")


def test_the_same_figures_give_the_same_plan() -> None:
    assert plan(subject(), {}, PLENTY) == plan(subject(), {}, PLENTY)


def test_what_was_tried_is_stored_whole() -> None:
    for item in plan(subject(), {"longer": answers(0.86)}, PLENTY).outcomes.tried:
        assert from_json(json.loads(json.dumps(to_json(item)))) == item


FALLING = [{"train_loss": 2 - 0.15 * n, "validation_loss": 2 - 0.14 * n} for n in range(10)]


def test_a_proven_verdict_says_so_without_perhaps_and_lists_what_was_tried() -> None:
    outcomes = plan(subject(), {"longer": answers(0.86, epochs=15)}, PLENTY).outcomes
    view = DiagnosisView.of(diagnose(read_history(FALLING), spec=SPEC, outcomes=outcomes))
    assert (view.verdict, view.certainty) == ("not_converged", "proven")
    assert "Perhaps" not in view.headline
    assert "Five more epochs gain 6.0 points" in view.summary
    assert [item.sentence for item in view.tried] == [outcomes.tried[0].judgement.sentence]


def test_a_refuted_verdict_is_withdrawn() -> None:
    history = read_history(FALLING)
    assert diagnose(history, spec=SPEC).verdict == "not_converged"
    outcomes = plan(subject(), {"longer": answers(0.801, epochs=15)}, PLENTY).outcomes
    found = diagnose(history, spec=SPEC, outcomes=outcomes)
    assert found.verdict != "not_converged"
    assert "not_converged" not in {cause.code for cause in found.causes}


def test_a_fault_that_the_curves_do_not_show_is_added_if_it_is_proven() -> None:
    flat = [{"train_loss": 0.5, "validation_loss": 0.52 + 0.001 * (n % 2)} for n in range(10)]
    outcomes = plan(subject("healthy"), {"longer": answers(0.86, epochs=15)}, PLENTY).outcomes
    found = diagnose(read_history(flat), spec=SPEC, outcomes=outcomes)
    assert found.verdict == "not_converged"
    assert found.causes[0].points == pytest.approx(0.06)
    assert [remedy.name for remedy in found.findings[0].remedies] == ["more_epochs"]


def on_test(accuracy: float) -> Figures:
    return replace(answers(0.80), test=Split(accuracy, 0.6, 1000))


SEEN = {"split_shift": "figures_not_true"}


def test_every_variant_of_any_spec_is_a_valid_spec() -> None:
    demanding = {
        "augmentation": {"rotation_degrees": 10},
        "training": {
            "schedule": {"name": "cosine", "warmup_epochs": 2},
            "early_stopping": {"patience": 3},
            "class_weights": "balanced",
            "on_overfit": "warn",
            "label_smoothing": 0.1,
            "mixup": 0.2,
        },
        "validation": {"folds": 5},
    }
    asked = JobSpec.model_validate(merge(EXAMPLE, demanding)).complete(name="a job", seed=1).model_dump(mode="json")
    of = subject("overfitting", spec=asked, patches={"label_smoothing": {"training": {"label_smoothing": 0.2}}})
    for each in EXPERIMENTS.values():
        for variant in each.make_variants(of):
            changed = JobSpec.model_validate(merge(asked, dict(variant.patch)))
            if variant.key == "memorize":
                assert (changed.augmentation, changed.training.early_stopping) == (None, None)
                assert (changed.training.schedule.name, changed.has_validation) == ("constant", False)


def test_splitting_again_shows_whether_test_is_of_another_kind() -> None:
    of = subject("split_shift", figures=on_test(0.60), tiers=SEEN)
    proven = tried(of, {"resplit": on_test(0.80)})["resplit"]
    assert proven.answers == {"split_shift": "proven"}
    assert proven.sentence.startswith("With all images split again, accuracy on test images rises by 20.0 points (+")
    same = tried(of, {"resplit": on_test(0.57)})["resplit"]
    assert same.answers == {"split_shift": "refuted"}


def test_splitting_again_speaks_of_the_suspected_split_and_of_what_only_it_gains() -> None:
    of = subject("split_shift", figures=on_test(0.60), tiers=SEEN)
    # Relatives of held-out images in training make both splits easier: nothing about test alone follows.
    both = replace(answers(0.99), test=Split(0.80, 0.6, 1000))
    assert tried(of, {"resplit": both})["resplit"].answers == {}
    # What test does not gain says nothing about validation images.
    suspected = replace(of, suspected_split="validation")
    for accuracy, answer in ((0.78, "refuted"), (0.90, "proven")):
        again = replace(answers(accuracy), test=Split(0.57, 0.6, 1000))
        assert tried(suspected, {"resplit": again})["resplit"].answers == {"split_shift": answer}


@pytest.mark.parametrize(
    ("changes"),
    [
        {"tiers": SEEN | {"label_order_mismatch": "other"}},
        {"tiers": {"split_shift": "loss_only"}},
        {"figures": replace(on_test(0.10), recalls=((200, 500),) * 4)},
    ],
    ids=["labels suspected", "no image shows it", "worse than guessing"],
)
def test_wrong_labels_of_test_are_not_taken_for_other_images(changes: dict[str, Any]) -> None:
    """Splitting again undoes both."""
    of = subject("split_shift", **{"figures": on_test(0.60), "tiers": SEEN, **changes})
    judgement = tried(of, {"resplit": on_test(0.80)})["resplit"]
    assert judgement.answers == {}
    assert judgement.sentence.endswith("images or their labels are of another kind, and this does not tell which.")


GUESSING = replace(answers(0.25, train=0.26), recalls=((500, 500), (0, 500), (0, 500), (0, 500)))


def test_a_figure_that_cannot_fall_refutes_nothing() -> None:
    of = subject("too_little_data", figures=GUESSING)
    assert tried(of, {"half": GUESSING})["half"].answers == {}


def test_a_larger_network_that_learns_no_more_refutes_nothing() -> None:
    of = subject("underfitting", figures=GUESSING)
    assert tried(of, {"larger": GUESSING})["larger"].answers == {}
    learned = replace(GUESSING, train=Split(0.9, 0.3, 3600))
    assert tried(of, {"larger": learned})["larger"].answers == {"underfitting": "refuted"}


def test_a_larger_network_that_helps_one_that_knows_its_images_is_no_verdict() -> None:
    assert tried(subject("overfitting"), {"larger": answers(0.86)})["larger"].answers == {}


def test_training_images_that_stay_unknown_keep_training_at_fault() -> None:
    listed = {"not_converged": "training_broken", "leakage": "other"}
    of = subject("not_converged", figures=GUESSING, tiers=listed)
    assert plan(of, {"longer": replace(GUESSING, epochs=15)}, PLENTY).verdict == "underfitting"


@pytest.mark.parametrize(
    ("changes", "before"),
    [
        ({"figures": on_test(0.60)}, "split_shift"),
        ({"tiers": {"leakage": "figures_not_true", "overfitting": "rest_of_gap"}}, "leakage"),
        ({"tiers": {"overfitting": "rest_of_gap", "leakage": "other"}}, "leakage"),
        ({"figures": answers(0.80, train=0.95)}, "not_converged"),
        ({"figures": answers(0.50, train=0.70)}, "underfitting"),
        ({"figures": answers(0.50, train=0.70), "has_high_rate": True}, "diverged"),
    ],
)
def test_a_proven_cause_is_not_the_first_while_one_before_it_is_open(changes: dict[str, Any], before: str) -> None:
    of = subject("overfitting", patches={"dropout": {"network": {"dropout": 0.5}}}, **changes)
    validation = of.figures.validation
    assert validation is not None
    helped = answers(validation.accuracy + 0.1)
    outcomes = plan(of, {"flip_dropout": helped}, PLENTY).outcomes
    assert outcomes.get_answer("overfitting") == "proven"
    assert before in list_open("overfitting", of.known, outcomes)
    assert not is_proven("overfitting", of.known, outcomes)


def test_what_comes_before_a_proven_cause_is_tried_next() -> None:
    of = subject("too_little_data", figures=answers(0.80, train=0.95), tiers={"too_little_data": "rest_of_gap"})
    found = plan(of, {"half": answers(0.74)}, PLENTY)
    assert (found.steps[0].experiment, found.reason) == ("longer", None)
    ended = plan(of, {"half": answers(0.74), "longer": answers(0.801, epochs=15)}, PLENTY)
    assert (ended.verdict, ended.reason) == ("too_little_data", "proven")
    too_early = plan(of, {"half": answers(0.74), "longer": answers(0.86, epochs=15)}, PLENTY)
    assert (too_early.verdict, too_early.reason) == ("not_converged", "proven")


def test_a_proven_fault_of_training_comes_before_one_that_is_only_likely() -> None:
    of = subject("underfitting", figures=answers(0.60, train=0.62), tiers={"underfitting": "training_broken"})
    found = plan(of, {"longer": answers(0.80, train=0.82, epochs=15)}, PLENTY)
    assert (found.verdict, found.reason) == ("not_converged", "proven")


def test_only_recounting_undoes_averages_that_lag() -> None:
    patches = {"recount_batch_norm": {"evaluation": {"recount_batch_norm": True}}, "batch_norm_momentum": {}}
    of = subject("evaluation_lags", patches=patches, tiers={"evaluation_lags": "training_broken"})
    assert [variant.key for variant in EXPERIMENTS["flip"].make_variants(of)] == ["flip_recount_batch_norm"]
    same = tried(of, {"flip_recount_batch_norm": answers(0.80)})["flip"]
    assert same.answers == {"evaluation_lags": "refuted"}
    assert tried(of, {"flip_recount_batch_norm": answers(0.90)})["flip"].answers == {"evaluation_lags": "proven"}


def test_a_remedy_that_helps_proves_only_the_cause_that_it_acts_against() -> None:
    of = subject("split_shift", patches={"augmentation": {"augmentation": {"rotation_degrees": 10}}})
    assert EXPERIMENTS["flip"].make_variants(of) == []


def test_only_splitting_again_reads_test_and_never_a_sealed_one() -> None:
    of = subject("split_shift", figures=on_test(0.60))
    assert [v.splits_again for v in EXPERIMENTS["resplit"].make_variants(of)] == ["all"]
    sealed = replace(of, spec={**SPEC, "evaluation": {**SPEC["evaluation"], "test": "never"}})
    for each in EXPERIMENTS.values():
        reads = [variant.reads_test for variant in each.make_variants(of)]
        assert any(reads) == (each.name == "resplit")
        assert not any(variant.reads_test for variant in each.make_variants(sealed))


def test_an_automatic_choice_ignores_what_test_labels_have_decided() -> None:
    of = subject("split_shift", figures=on_test(0.6), tiers=SEEN)
    outcomes = plan(of, {"resplit": on_test(0.8)}, PLENTY).outcomes
    assert outcomes.proven == ["split_shift"]
    assert outcomes.without_test().proven == []


@pytest.mark.parametrize(
    ("verdict", "why", "accuracy", "answer"),
    [
        ("leakage", "copies", 0.70, "proven"),
        ("leakage", "copies", 0.80, "refuted"),
        ("label_noise", "suspects", 0.88, "proven"),
        ("label_noise", "suspects", 0.80, "refuted"),
    ],
)
def test_leaving_images_out_shows_what_they_are_worth(verdict: str, why: str, accuracy: float, answer: str) -> None:
    of = subject(verdict, leave_out={why: range(100)})
    [variant] = EXPERIMENTS[f"without_{why}"].make_variants(of)
    assert len(variant.leave_out) == 100
    assert tried(of, {variant.key: answers(accuracy)})[variant.key].answers == {verdict: answer}


def test_weights_for_classes_prove_an_imbalance_and_never_refute_it() -> None:
    before = replace(answers(0.80), recalls=((900, 1000), (10, 100)))
    of = subject("class_imbalance", figures=before)
    better = replace(answers(0.80), recalls=((880, 1000), (60, 100)))
    assert tried(of, {"class_weights": better})["class_weights"].answers == {"class_imbalance": "proven"}
    # Weights bring no images, so a class that they do not help may be rare all the same.
    worse = replace(answers(0.80), recalls=((880, 1000), (2, 100)))
    assert tried(of, {"class_weights": worse})["class_weights"].answers == {}


def test_the_first_cause_undone_and_everything_else_equal_proves_it() -> None:
    of = subject("overfitting", patches={"dropout": {"network": {"dropout": 0.5}}})
    done = {"flip_dropout": answers(0.86)}
    assert tried(of, done)["flip"].answers == {"overfitting": "proven"}
    assert "With dropout and everything else equal, accuracy rises by 6.0 points" in tried(of, done)["flip"].sentence


@pytest.mark.parametrize(
    ("code", "remedy", "accuracy", "answers_of"),
    [
        ("unscaled_input", "fitting_pixels", 0.90, {"unscaled_input": "proven", "underfitting": "proven"}),
        ("unscaled_input", "fitting_pixels", 0.80, {"unscaled_input": "refuted"}),
        ("exploding_gradients", "clip_norm", 0.90, {"exploding_gradients": "proven", "underfitting": "proven"}),
        ("exploding_gradients", "clip_norm", 0.80, {}),
    ],
)
def test_a_fault_inside_the_network_undone_shows_whether_it_was_the_cause(code, remedy, accuracy, answers_of) -> None:
    patch = {"training": {"optimizer": {"clip_norm": 1.0}}}
    of = subject("underfitting", faults={"dead_units": {}, code: {remedy: patch}})
    assert tried(of, {f"without_{remedy}": answers(accuracy)})["fault"].answers == answers_of


def test_a_fault_that_only_the_code_can_change_is_said_to_be_so() -> None:
    shares = spread_probabilities("underfitting", 0.6, ["underfitting", "dead_units"])
    of = subject("underfitting", faults={"dead_units": {}}, probabilities=shares)
    assert "line of Keras code" in dict(list_impossible(of))["fault"]
    unnamed = subject("underfitting")
    assert "fault" not in dict(list_impossible(unnamed))
    assert not unnamed.probabilities.keys() & FAULTS.keys()


def test_other_rates_prove_the_fault_of_the_rate() -> None:
    done = {"rate_low": answers(0.70), "rate_high": answers(0.90)}
    found = tried(subject("underfitting"), done)["rates"].answers
    assert (found["learning_rate_too_low"], found["learning_rate_too_high"]) == ("proven", "refuted")


def test_what_the_job_has_measured_needs_no_training() -> None:
    of = subject("label_order_mismatch", measured={"label_order_mismatch": (0.30, 0.26, 0.34)})
    assert plan(of, {}, Budget(0, 0.0)).reason == "proven"
    unsure = subject("label_order_mismatch", measured={"label_order_mismatch": (0.03, 0.001, 0.059)})
    assert plan(unsure, {}, PLENTY).reason != "proven"


@pytest.mark.parametrize("code", FINDING_KINDS)
def test_every_proven_cause_is_diagnosed_though_nothing_else_shows_it(code: str) -> None:
    ended = Judgement("refuted", "It had ended.", {} if code == "not_converged" else {"not_converged": "refuted"})
    judgement = Judgement("proven", "It was tried.", {code: "proven"}, 0.06, (0.03, 0.09))
    outcomes = Outcomes(
        tuple(Tried("longer", "Longer training", "Would it help?", each) for each in (judgement, ended))
    )
    flat = [{"train_loss": 0.5, "validation_loss": 0.52 + 0.001 * (n % 2)} for n in range(10)]
    view = DiagnosisView.of(diagnose(read_history(flat), spec=SPEC, outcomes=outcomes))
    is_added = code not in {
        "evaluation_lags",
        "memorised_noise",
        "preprocessing_mismatch",
        "worst_group",
        "shortcut_suspected",
        *FAULTS,
    }
    assert (view.verdict == code, view.certainty == "proven") == (is_added, is_added)
    assert view.headline


def test_all_effects_of_a_proof_share_one_probability_of_proving_something_false() -> None:
    harmful = {"copies": range(100), "suspects": range(100)}
    patches = {"dropout": {"network": {"dropout": 0.5}}, "label_smoothing": {"training": {"label_smoothing": 0.2}}}
    of = subject("overfitting", leave_out=harmful, patches=patches, figures=GUESSING)
    # Neither memorizing nor other seeds prove by an effect.
    effects = [each for each in EXPERIMENTS.values() if each.name not in {"memorize", "seeds"}]
    looks = sum((1 + each.repeats) * max(1, len(each.make_variants(of))) for each in effects)
    assert looks <= thresholds.MAX_LOOKS


@pytest.mark.proof
def test_experiments_together_prove_something_false_in_few_proofs() -> None:
    """Specs that are all equal: what differs is the luck of seeds and images alone."""
    rng = np.random.default_rng(0)

    def draw() -> Figures:
        right = rng.random(IMAGES) < 0.8 + rng.normal(0, 0.007)
        return Figures(Split(0.9, 0.3, 3600), Split(right.mean(), 0.5, IMAGES), pack_right(right.tolist()), 10)

    false, proofs = 0, 400
    keys = ("longer", "rate_low", "rate_high", "larger", "half", "base+1", "base+2")
    for _ in range(proofs):
        done: dict[str, Figures | None] = {key: draw() for key in keys}
        done |= {f"{key}+1": draw() for key in ("longer", "rate_low", "rate_high", "larger", "half")}
        false += bool(plan(subject("healthy", figures=draw()), done, PLENTY).outcomes.proven)
    assert false / proofs < 0.05
