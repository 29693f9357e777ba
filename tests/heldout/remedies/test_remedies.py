"""The effect of remedies and their combinations on a spec, and which remedies `auto` chooses."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heldout.cli.spec_files import Preset, get_spec
from heldout.diagnosis.remedies import suggest
from heldout.errors import InvalidSpec
from heldout.remedies import ResolvedArm, resolve
from heldout.remedies.arms import BY_VERDICT, MAX_ARMS, MIN_ARMS, choose_first, choose_remedies, resolve_remedy
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import NoChange, RemedyBase
from heldout.spec.documents import make_patch
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.spec.network import UnfreezeSpec
from heldout.spec.pretrained import propose_start, shows_photographs
from heldout.studies.spec import NamedPatch
from heldout.verdicts import FINDING_KINDS
from tests.merge_patch import merged

EXAMPLES = Path(__file__).parents[3] / "examples"
BLOCKS = [{"filters": 16, "pool": 1}, {"filters": 32}]
DENSE = [{"units": 64}]
LATER = {"epoch": 2, "learning_rate": 0.1}
# These change something by a factor, so applying them again changes more.
REPEATABLE = {
    "smaller_network",
    "larger_network",
    "lower_learning_rate",
    "higher_learning_rate",
    "more_epochs",
    "more_patience",
    "longer_cosine",
    "retune",
}
STARTED = {"initial": {"job": "job_1"}, "training": {"early_stopping": {"patience": 3}}}


def spec(**parts: Any) -> JobSpec:
    return JobSpec.model_validate({"dataset": "digits", "network": {"blocks": BLOCKS, "dense": DENSE}} | parts)


def examples() -> list[JobSpec]:
    named = [JobSpec.model_validate_json(path.read_text()) for path in sorted(EXAMPLES.glob("*.json"))]
    decaying = {"optimizer": {"name": "adamw", "weight_decay": 0.1}, "schedule": {"name": "reduce_on_plateau"}}
    sgd = {"optimizer": {"name": "sgd", "learning_rate": 1.0}, "on_overfit": "stop_and_restore", "mixup": 0.2}
    behind = {"backbone": {"model": "mod_1"}, "blocks": []}
    no_blocks = [spec(network=behind), spec(network=behind | {"dense": DENSE, "l2": 0.1})]
    uploaded = {"model": "mod_1", "weights": "uploaded", "head": "replace"}
    own = [spec(network={"model": "mod_1"}), spec(network={"model": "mod_1", "width": 0.5}), spec(network=uploaded)]
    own.append(spec(network={"model": "mod_1", "pixels": "bytes"}))
    return [*named, spec(), spec(**STARTED), spec(training=decaying), spec(training=sgd), *no_blocks, *own]


def applied(base: JobSpec, patch: dict[str, Any]) -> JobSpec:
    return JobSpec.model_validate(merged(base.model_dump(mode="json"), patch))


def resolve_one(name: str, base: JobSpec, train_images: int | None = 3600) -> ResolvedArm:
    return resolve([name], base, train_images=train_images)[-1]


def test_a_network_behind_a_backbone_may_have_no_block_to_change():
    behind = {"backbone": {"model": "mod_1"}, "blocks": []}
    bare, dense = (spec(network=behind | {"dense": layers}) for layers in ([], DENSE))
    assert after("smaller_network", dense).network.dense[0].units == 32
    assert resolve_one("smaller_network", dense).did == "Halves the network: 64 units become 32 units."
    for name in ("smaller_network", "larger_network", "batch_norm", "dropout", "l2"):
        with pytest.raises(InvalidSpec, match="The network has no block"):
            resolve_one(name, bare)
    for verdict in (None, *BY_VERDICT):
        names = choose_remedies(RemedyBase(bare.model_dump(mode="json"), 3600), verdict)
        assert MIN_ARMS <= len(names) <= MAX_ARMS
        assert all(applied(bare, arm.patch) != bare or arm.candidates for arm in resolve(names, bare))


RESIDUAL = {"filters": 16, "norm": "group", "residual": True, "repeat": 2, "pool": 1}


def test_remedies_keep_the_shapes_of_residual_blocks_valid():
    base = spec(network={"blocks": [RESIDUAL, RESIDUAL | {"filters": 32, "strides": 2}]})
    for name, filters, groups in (("smaller_network", [8, 16], [2, 4]), ("larger_network", [32, 64], [8, 16])):
        network = after(name, base).network
        assert [block.filters for block in network.blocks] == filters
        assert [block.groups for block in network.blocks] == groups
        assert plan_network(network, (28, 28, 1), 10).layers[-2].shape == (14 * 14 * filters[-1],)


def test_batch_normalization_is_added_to_blocks_without_normalization():
    base = spec(network={"blocks": [{"filters": 8}, RESIDUAL, {"filters": 8, "batch_norm": True}]})
    assert [block.normalization for block in after("batch_norm", base).network.blocks] == ["batch", "group", "batch"]
    with pytest.raises(InvalidSpec, match="Every block already has a normalization"):
        resolve_one("batch_norm", spec(network={"blocks": [RESIDUAL]}))


def test_dropout_follows_the_blocks_that_shrink_the_image():
    blocks = [RESIDUAL, RESIDUAL | {"strides": 2}, RESIDUAL]
    base = spec(network={"blocks": blocks})
    assert [block.dropout for block in after("dropout", base).network.blocks] == [0, 0.25, 0]
    assert resolve_one("dropout", base).did == "Adds dropout of 0.25 after each block with strides."
    pooled = spec(network={"blocks": [*blocks, {"filters": 8}]})
    assert [block.dropout for block in after("dropout", pooled).network.blocks] == [0, 0.25, 0, 0.25]
    assert resolve_one("dropout", pooled).did == "Adds dropout of 0.25 after each pool and block with strides."


def test_the_filters_of_many_blocks_are_summarized():
    base = spec(network={"blocks": [RESIDUAL] * 9 + [RESIDUAL | {"filters": 64}]})
    assert resolve_one("smaller_network", base).did == (
        "Halves the network: 10 blocks of 16 to 64 filters become 10 blocks of 8 to 32 filters."
    )


def after(name: str, base: JobSpec | None = None, train_images: int | None = 3600) -> JobSpec:
    base = base or spec()
    return applied(base, resolve_one(name, base, train_images).patch)


@pytest.mark.parametrize("name", REMEDIES)
def test_a_remedy_changes_a_spec_once_or_says_why_it_cannot(name: str):
    list_changes = 0
    for base in examples():
        for train_images in (None, 40, 10**6):
            outcome = resolve_remedy(name, RemedyBase(base.model_dump(mode="json"), train_images))
            if isinstance(outcome, NoChange):
                with pytest.raises(InvalidSpec, match=re.escape(f"{name!r} would change nothing. {outcome.why}")):
                    resolve_one(name, base, train_images)
                continue
            list_changes += 1
            arm = resolve_one(name, base, train_images)
            assert arm.did.endswith(".")
            assert len(arm.candidates or (arm.patch,)) == len(
                {json.dumps(candidate) for candidate in arm.candidates or (arm.patch,)}
            )
            for patch in arm.candidates or (arm.patch,):
                cured = applied(base, patch)
                assert cured != base
                assert (cured.dataset, cured.validation, cured.training.seed) == (
                    base.dataset,
                    base.validation,
                    base.training.seed,
                )
                if name not in REPEATABLE:
                    with pytest.raises(InvalidSpec, match="would change nothing"):
                        resolve_one(name, cured, train_images)
    assert list_changes


def test_amounts_depend_on_the_spec():
    assert [block.dropout for block in after("dropout").network.blocks] == [0, 0.25]  # after the pool
    assert after("dropout").network.dense[0].dropout == 0.25
    unpooled = spec(network={"blocks": [{"filters": 8, "pool": 1}]})
    assert after("dropout", unpooled).network.blocks[0].dropout == 0.25
    smaller = after("smaller_network").network
    assert ([block.filters for block in smaller.blocks], smaller.dense[0].units) == ([8, 16], 32)
    assert (
        after("reference_augmentation").augmentation
        == JobSpec.model_validate_json((EXAMPLES / "augmented.json").read_text()).augmentation
    )
    decaying = after("weight_decay").training.optimizer
    assert (decaying.name, decaying.learning_rate, decaying.weight_decay) == ("adamw", 0.001, 0.01)
    assert (after("mixup").training.mixup, after("cutmix").training.cutmix) == (0.2, 1.0)
    mixed = after("cutmix", spec(training={"mixup": 0.3})).training
    assert (mixed.mixup, mixed.cutmix) == (0, 1.0)
    assert after("transfer", spec(**STARTED)).initial.freeze_blocks == 1
    longer = after("longer_cosine", spec(**STARTED)).training
    assert (longer.epochs, longer.schedule.name, longer.early_stopping.patience) == (20, "cosine", 20)


def test_weights_are_averaged_over_a_tenth_of_the_steps():
    """The same factor would average over a whole short training, and over almost none of a long one."""
    for images, epochs in ((40, 10), (3600, 10), (50_000, 100)):
        steps = epochs * -(-images // 32)
        looks_back = 1 / (1 - after("ema", spec(training={"epochs": epochs}), images).training.ema_decay)
        assert looks_back == pytest.approx(min(10_000, max(10, steps / 10)), rel=0.02)
    limited = spec(training={"train_limit": 40})
    assert resolve_one("ema", limited, 3600) == resolve_one("ema", limited, 40)


def test_a_search_has_distinct_candidates_without_the_base():
    for base in examples():
        candidates = [applied(base, patch) for patch in resolve_one("retune", base).candidates]
        assert 2 <= len(candidates) <= 5
        assert base not in candidates
        assert all(not (list_changes(base, candidate) - {"training.optimizer"}) for candidate in candidates)


def test_a_combination_applies_both_parts_and_is_compared_with_both():
    arms = resolve(["smaller_network+dropout", "dropout"], spec(), train_images=3600)
    assert [arm.name for arm in arms] == ["smaller_network", "dropout", "smaller_network+dropout"]
    assert arms[2].parts == ("smaller_network", "dropout")
    both = applied(spec(), arms[2].patch).network
    assert [(block.filters, block.dropout) for block in both.blocks] == [(8, 0), (16, 0.25)]
    assert (both.dense[0].units, both.dense[0].dropout) == (32, 0.25)
    searched = resolve_one("retune+dropout", spec())
    assert searched.patch == {}
    assert len(searched.candidates) == len(resolve_one("retune", spec()).candidates)
    assert all(applied(spec(), patch).network == after("dropout").network for patch in searched.candidates)


def test_a_combination_does_not_restore_what_its_first_part_removed():
    """Merging both patches would restore the shifts."""
    base = spec(augmentation={"width_shift": 0.2, "fill_mode": "wrap"})
    found = after("less_regularisation+erasing", base).augmentation
    assert (found.width_shift, found.erasing) == (0, 0.5)


@pytest.mark.parametrize(
    ("asked", "pointer", "message"),
    [
        (
            ["dropout", "prayer"],
            "/remedies/1",
            "There is no remedy 'prayer'. There are augmentation, balanced_sampling, batch_norm",
        ),
        (["dropout+prayer"], "/remedies/0", "There is no remedy 'prayer'"),
        (["base"], "/remedies/0", "There is no remedy 'base'"),
        (["temperature"], "/remedies/0", "accuracy never changes"),
        (["dropout", "dropout"], "/remedies/1", "is listed twice"),
        (["dropout+dropout"], "/remedies/0", "one remedy twice"),
        (["transfer"], "/remedies/0", "would change nothing. The spec has no `initial`"),
        (["mixup+cutmix"], "/remedies/0", "it equals 'cutmix' alone"),
        (["smaller_network+larger_network"], "/remedies/0", "undoes what 'smaller_network' changes"),
        (["augmentation+zoom"], "/remedies/0", "'zoom' has nothing left to change"),
        ([{"name": "base", "patch": {}}], "/remedies/0/name", "the unchanged arm"),
        ([{"name": "a+b", "patch": {}}], "/remedies/0/name", "joins remedies"),
        ([{"name": "mine", "patch": {"augmentation": None}}], "/remedies/0", "already has all of this"),
        (
            [{"name": "mine", "patch": {"training": {"seed": 3}}}],
            "/remedies/0/patch/training/seed",
            "the same in every arm",
        ),
        (["dropout+mine", {"name": "mine", "patch": {"network": None}}], "/remedies/1", "/network: This field"),
        (["mine+l2", {"name": "mine", "patch": {"network": {"l2": "x"}}}], "/remedies/1", "/network/l2: Received"),
        ([{"name": "mine", "patch": {"dataset": "pets"}}], "/remedies/0/patch/dataset", "the same in every arm"),
        (
            [
                "wide+deep",
                {"name": "wide", "patch": {"network": {"blocks": [{"filters": 64}]}}},
                {"name": "deep", "patch": {"network": {"blocks": [{"filters": 16, "pool": 1}] * 4}}},
            ],
            "/remedies/0",
            "it equals 'deep' alone",
        ),
    ],
)
def test_invalid_remedies_are_refused_with_their_position(asked, pointer: str, message: str):
    with pytest.raises(InvalidSpec) as refused:
        resolve([remedy if isinstance(remedy, str) else NamedPatch(**remedy) for remedy in asked], spec())
    assert [error.pointer for error in refused.value.errors] == [pointer]
    assert message in refused.value.detail


def test_custom_patches_can_be_combined_with_named_remedies():
    own = NamedPatch(name="wide", patch={"network": {"blocks": [{"filters": 64}, {"filters": 64}]}})
    wide, dropout, both = resolve(["wide+dropout", own], spec())
    assert (wide.patch, dropout.name) == (own.patch, "dropout")
    assert [(block.filters, block.dropout) for block in applied(spec(), both.patch).network.blocks] == [(64, 0.25)] * 2


@pytest.mark.parametrize("verdict", [None, "healthy", "leakage", *BY_VERDICT])
def test_auto_chooses_four_to_eight_remedies_that_all_change_something(verdict: str | None):
    for base in examples():
        names = choose_remedies(
            RemedyBase(base.model_dump(mode="json"), 3600), verdict, ["class_imbalance", "leakage", "overfitting"]
        )
        assert MIN_ARMS <= len(names) <= MAX_ARMS
        assert names[-1] == "retune"
        arms = resolve(names, base, train_images=3600)
        assert {part for arm in arms for part in arm.parts} <= set(names)  # so no further arms are added


def test_no_study_is_offered_if_no_remedy_can_be_compared():
    """A diverged training gives no base for comparison, and random labels teach nothing."""
    assert {code for code in BY_VERDICT if not FINDING_KINDS[code].is_curable} == {"diverged", "memorised_noise"}


def test_auto_follows_the_verdict():
    plain = RemedyBase(spec().model_dump(mode="json"), 3600)
    assert "larger_network" in choose_remedies(plain, "underfitting")
    assert not {"larger_network", "less_regularisation"} & set(choose_remedies(plain, "overfitting"))
    assert "early_stopping" not in choose_remedies(plain, "too_little_data")
    assert "class_weights" in choose_remedies(plain, "overfitting", ["overfitting", "class_imbalance"])
    assert choose_remedies(plain) == choose_remedies(plain, "healthy")


@pytest.mark.parametrize("verdict", BY_VERDICT)
def test_auto_tries_pretrained_features_first_where_images_are_like_photographs(verdict: str):
    plain = RemedyBase(spec().model_dump(mode="json"), 3600)
    photographs = replace(plain, has_photographs=True)
    is_meant = verdict in {"overfitting", "too_little_data", "underfitting"}
    names = choose_remedies(photographs, verdict)
    assert ("pretrained" in names) == is_meant
    assert (choose_first(names)[0] == "pretrained") == is_meant
    assert "pretrained" not in choose_remedies(plain, verdict)
    # A further finding brings its first remedy that suits the images.
    assert choose_remedies(photographs, "not_converged", ["overfitting"])[0] == "pretrained"
    assert choose_remedies(plain, "not_converged", ["overfitting"])[0] == "longer_cosine"
    assert "augmentation" in choose_remedies(plain, "not_converged", ["overfitting"])


def test_the_diagnosis_offers_pretrained_features_only_for_photographs_and_a_known_spec():
    plain = RemedyBase(spec().model_dump(mode="json"), 3600)
    for base, names in ((replace(plain, has_photographs=True), ["pretrained", "dropout"]), (plain, ["dropout"])):
        assert [remedy.name for remedy in suggest(base, "pretrained", "dropout")] == names
    assert [remedy.name for remedy in suggest(None, "pretrained", "dropout")] == ["dropout"]


def test_pretrained_features_give_the_network_of_the_preset_for_photographs():
    preset = JobSpec.model_validate(get_spec(Preset.PHOTOS))
    base = spec(network={"blocks": BLOCKS, "l2": 0.1}, augmentation={"zoom": 0.1}, training={"precision": "mixed"})
    cured = after("pretrained", base)
    assert cured.network == preset.network
    assert (cured.augmentation.zoom, cured.augmentation.views) == (0.1, 4)  # so that features are computed once
    assert cured.training.precision == "float32"  # the only one that a backbone has
    for name in ("pretrained", "pretrained+dropout"):
        with pytest.raises(InvalidSpec, match="already has a backbone"):
            resolve_one(name, preset)


def test_fine_tuning_trains_the_last_layers_of_what_was_frozen_from_a_later_epoch_on():
    scratch = spec(network={"blocks": BLOCKS}, augmentation={"zoom": 0.1}, training={"epochs": 20})
    photos = JobSpec.model_validate(get_spec(Preset.PHOTOS))
    own = spec(network={"model": "mod_1", "weights": "uploaded", "freeze": 3}, training={"epochs": 2})
    for base, first in ((photos, 6), (own, 2), (scratch, 6)):
        changed = after("fine_tuning", base).network
        assert changed.unfreezing == UnfreezeSpec(epoch=first, learning_rate=0.0001, layers=30)
        assert (
            f"the last 30 layers of the pretrained network, too, from epoch {first} on"
            in resolve_one("fine_tuning", base).did
        )
    cured, kept = after("fine_tuning", scratch), after("pretrained", scratch)
    assert cured.network.backbone.model_copy(update={"unfreeze_at": None}) == kept.network.backbone
    assert cured.augmentation == kept.augmentation
    # Early stopping must not end a training before that.
    impatient = {"epochs": 20, "early_stopping": {"patience": 3}}
    assert after("fine_tuning", spec(network={"blocks": BLOCKS}, training=impatient)).network.unfreezing.epoch == 4


@pytest.mark.parametrize(
    ("network", "epochs", "why"),
    [
        ({"backbone": {"model": "mod_1", "trainable": True}, "blocks": []}, 5, "No layers of the uploaded model are"),
        ({"model": "mod_1"}, 5, "No layers of the uploaded model are frozen"),
        (
            {"model": "mod_1", "weights": "uploaded", "freeze": 2, "unfreeze_at": LATER},
            5,
            "already trains frozen layers",
        ),
        ({"backbone": {"model": "mod_1", "unfreeze_at": LATER}, "blocks": []}, 5, "already trains frozen layers"),
        ({"backbone": {"model": "mod_1"}, "blocks": []}, 1, "With a single epoch"),
    ],
    ids=["all trained", "own, all trained", "own, second phase", "second phase", "one epoch"],
)
def test_fine_tuning_says_why_it_has_nothing_to_change(network, epochs, why):
    with pytest.raises(InvalidSpec, match=why):
        resolve_one("fine_tuning", spec(network=network, training={"epochs": epochs}))


def test_auto_tries_fine_tuning_on_photographs_and_at_first_only_where_features_are_in_use():
    plain = RemedyBase(spec(training={"epochs": 20}).model_dump(mode="json"), 3600)
    photos = RemedyBase(JobSpec.model_validate(get_spec(Preset.PHOTOS)).model_dump(mode="json"), 3600)
    for verdict in ("overfitting", "too_little_data", "underfitting"):
        names = choose_remedies(replace(plain, has_photographs=True), verdict)
        assert "fine_tuning" in names
        assert "fine_tuning" not in choose_first(names)  # it takes long, and features alone gain most
        assert "fine_tuning" not in choose_remedies(plain, verdict)
    for verdict in ("overfitting", "too_little_data"):
        assert "fine_tuning" in choose_first(choose_remedies(replace(photos, has_photographs=True), verdict))


@pytest.mark.parametrize(
    ("image", "values", "is_photographic"),
    [
        ((128, 128, 3), [(3, 120, 250)] * 3, True),
        ((24, 24, 3), [(-0.9, 0.1, 0.9)] * 3, True),
        ((128, 128, 1), [(3, 120, 250)], False),  # gray
        ((64, 64, 3), [(0, 255, 255)] * 3, False),  # cards on white
        ((64, 64, 3), [(0, 217, 255), (5, 200, 255), (0, 40, 255)], False),  # flags: a ground, almost white
        ((64, 64, 3), [(7, 7, 7)] * 3, False),  # blank
        ((64, 64, 3), [], False),  # nothing is known
    ],
)
def test_images_are_like_photographs_if_they_are_in_color_and_not_mostly_plain(image, values, is_photographic):
    channels = [dict(zip(("p01", "median", "p99"), found, strict=True)) for found in values]
    assert shows_photographs(image, {"train": {"channels": channels}}) == is_photographic
    assert not shows_photographs(image, {})


@pytest.mark.parametrize(
    ("image", "median", "has_pretrained", "preset", "why"),
    [
        ((48, 48, 3), 120, True, "photos", "look like photographs"),
        ((48, 48, 3), 120, False, "regularized", "no pretrained network"),
        ((48, 48, 3), 250, True, "regularized", "plain ground"),  # playing cards, flags
        ((47, 48, 3), 120, True, "regularized", "smaller than 48"),
        ((48, 48, 1), 120, True, "regularized", "gray"),
        (None, 120, True, "regularized", "Too little is known"),
    ],
)
def test_a_first_job_starts_from_pretrained_features_where_images_are_large_photographs(
    image, median, has_pretrained, preset, why
):
    statistics = {"train": {"channels": [{"p01": 3, "median": median, "p99": 250}] * 3}}
    start = propose_start(image, statistics, has_pretrained=has_pretrained)
    assert start.preset == preset
    assert why in start.reason


def list_changes(before: JobSpec, cured: JobSpec) -> set[str]:
    """Return which parts of two specs differ, two names deep."""
    old, new = before.model_dump(mode="json"), cured.model_dump(mode="json")
    return {
        f"{part}.{name}" for part in ("network", "training") for name in new[part] if new[part][name] != old[part][name]
    } | {part for part in ("augmentation", "initial") if new[part] != old[part]}


def test_a_patch_turns_one_document_into_another():
    draw = random.Random(0)

    def document(depth: int = 3) -> dict[str, Any]:
        values: list[Any] = [None, 0, 1.5, "a", [1, {"b": None}], True]
        return {
            name: document(depth - 1) if depth and draw.random() < 0.4 else draw.choice(values)
            for name in "abcd"
            if draw.random() < 0.7
        }

    def without_nulls(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not None}

    for _ in range(500):
        before, wanted = document(), document()
        assert without_nulls(merged(before, make_patch(before, wanted))) == without_nulls(wanted)


def test_a_first_answer_takes_three_remedies_that_helped_most_often_and_whole_combinations():
    assert choose_first(("augmentation", "dropout", "dropout+augmentation", "ema", "retune")) == (
        "augmentation",
        "dropout",
        "dropout+augmentation",
    )
    # A combination would bring its missing part as a fourth remedy, and a search its candidates.
    assert choose_first(("dropout", "dropout+augmentation", "retune", "ema")) == ("dropout", "ema")
    for verdict in BY_VERDICT:
        names = choose_remedies(RemedyBase(spec().model_dump(mode="json"), 3600), verdict)
        assert choose_first(names)[0] == names[0]
