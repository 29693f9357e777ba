"""The terms of a gap, measured with real networks on real digits with one planted fault each."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score

from analysis.answers.answers import measure_family, split_into_halves
from analysis.answers.external import build_evaluation
from analysis.answers.file import read_predictions
from analysis.arrays.dataset import ImageSet
from analysis.arrays.file_names import RULES, FileNames
from analysis.arrays.relations import Relations
from heldout.spec.job import JobSpec
from heldout.stored.gap import StoredGap, Tally
from tests.worker.training.trainings import Training, small_spec
from worker.training.data.training_data import ResidentData, TrainingData, select
from worker.training.engine.training_policy import TrainedWeights
from worker.training.exports.exported_model import build_exported
from worker.training.finalize import save_predictions
from worker.training.measuring.gap import measure_gap
from worker.training.measuring.predictor import Predictor


@dataclass
class Trained:
    """A network that was trained on clean images and is measured on others."""

    spec: JobSpec
    images: ImageSet
    network: keras.Model
    weights: TrainedWeights
    answered: list[tuple[np.ndarray, np.ndarray, Any]] = field(default_factory=list, init=False)

    def measure(
        self, images: ImageSet | None = None, relations: Relations | None = None, **options: Any
    ) -> tuple[StoredGap, TrainingData, keras.Model]:
        data = select(images or self.images, self.spec)
        exported = build_exported(self.spec.network, data, self.network)
        predictor = Predictor(exported, ResidentData(data), data.value_range)
        kept = {split: self.predict(images or self.images, split, predictor, data) for split in data.rows}
        gap = measure_gap(predictor, data, self.weights, kept, relations, **options)
        assert gap is not None
        assert StoredGap.from_bytes(gap.to_bytes()) == gap
        return gap, data, exported

    def predict(self, images: ImageSet, split: str, predictor: Predictor, data: TrainingData) -> Any:
        """Return the predictions for a split, remembering those for the same images and labels."""
        rows = data.source[split]
        pixels, labels = images.images[rows], images.labels[rows]
        for known, known_labels, predictions in self.answered:
            if np.array_equal(known, pixels) and np.array_equal(known_labels, labels):
                return predictions
        self.answered.append((pixels, labels, predictor.predict(data.rows[split])))
        return self.answered[-1][-1]


@pytest.fixture(scope="module")
def trained(mnist5k: ImageSet) -> Trained:
    spec = small_spec({"filters": 16}, {"filters": 32}, training={"epochs": 3})
    training = Training(spec, mnist5k, Path("/nowhere"))
    training.trainer.train()
    return Trained(spec, mnist5k, training.network, training.trainer.get_trained_weights())


@pytest.fixture(scope="module")
def clean(trained: Trained) -> StoredGap:
    """The gap on unchanged images."""
    return trained.measure()[0]


@pytest.fixture(scope="module")
def colored(mnist5k: ImageSet) -> Trained:
    """Train on digits in a warm color: bright in red, dark in blue."""
    colored = np.concatenate([mnist5k.images, mnist5k.images // 3, 40 + mnist5k.images // 6], axis=-1)
    images = replace(mnist5k, images=colored)
    spec = small_spec({"filters": 16}, {"filters": 16}, training={"epochs": 2})
    training = Training(spec, images, Path("/nowhere"))
    training.trainer.train()
    return Trained(spec, images, training.network, training.trainer.get_trained_weights())


def change_test(
    images: ImageSet,
    pixels: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels,
    labels: Callable[[np.ndarray], np.ndarray] = lambda labels: labels,
    dtype: type = np.uint8,
) -> ImageSet:
    """Return the dataset with changed pixels and labels of the test split."""
    test = images.splits["test"]
    changed, renamed = images.images.astype(dtype), images.labels.copy()
    changed[test] = pixels(images.images[test].astype(np.float64))
    renamed[test] = labels(images.labels[test])
    return replace(images, images=changed, labels=renamed)


def brighten(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels + 100, 0, 255)


def invert(pixels: np.ndarray) -> np.ndarray:
    return 255 - pixels


def shift_labels(labels: np.ndarray) -> np.ndarray:
    return (labels + 1) % 10


def assert_tally(tally: Tally | None, model: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Check the tally against scikit-learn on predictions of plain Keras."""
    assert tally is not None
    assert tally.count == len(labels)
    probabilities = model.predict(images, verbose=0)
    assert tally.correct == round(accuracy_score(labels, probabilities.argmax(axis=1)) * len(labels))
    logits = keras.Model(model.input, model.get_layer("output").output).predict(images, verbose=0)
    losses = -log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    assert tally.loss == pytest.approx(losses.mean(), abs=1e-5)
    assert tally.loss_variance == pytest.approx(losses.var(ddof=1), rel=1e-3)


def test_clean_images_are_counted_and_nothing_is_undone(trained):
    gap, data, model = trained.measure()
    for split in ("train", "validation", "test"):
        rows = data.rows[split]
        assert_tally(getattr(gap, split), model, data.images[rows], data.labels[rows])
    assert (gap.kept_epoch, gap.epochs) == (3, 3)
    assert (gap.pixels, gap.labels, gap.last, gap.test_copies, gap.validation_copies) == (None,) * 5


def test_labels_that_are_off_by_one_class_are_renamed(trained, clean):
    gap, _, _ = trained.measure(change_test(trained.images, labels=shift_labels))
    assert gap.pixels is None
    assert gap.labels.renamings == (tuple((np.arange(10) - 1) % 10),) * 2
    assert gap.labels.tally.correct == clean.test.correct
    assert gap.labels.tally.loss == pytest.approx(clean.test.loss, abs=1e-5)
    assert gap.labels.change.gained - gap.labels.change.lost == clean.test.correct - gap.test.correct
    assert gap.labels.change.loss == pytest.approx(clean.test.loss - gap.test.loss, abs=1e-5)


def test_only_two_swapped_classes_are_renamed(trained, clean):
    swapped = np.arange(10)
    swapped[[3, 5]] = 5, 3
    gap, _, _ = trained.measure(change_test(trained.images, labels=lambda labels: swapped[labels]))
    assert gap.labels.renamings == (tuple(swapped),) * 2
    assert gap.labels.tally.correct == clean.test.correct


def test_a_renaming_chosen_on_one_half_is_counted_on_the_other(trained):
    """Only the first half shows digits that are one lower than their labels, so its renaming harms the second half."""
    test = trained.images.splits["test"]
    labels = trained.images.labels[test]
    changed = trained.images.images.copy()
    first, second = split_into_halves(labels)
    for label in range(10):
        rows = first[labels[first] == label]
        changed[test[rows]] = trained.images.images[test[np.flatnonzero(labels == (label - 1) % 10)[: len(rows)]]]
    gap, _, _ = trained.measure(replace(trained.images, images=changed))
    assert sorted(labels[first].tolist()) == sorted(labels[second].tolist())
    assert gap.labels.renamings == (None, tuple((np.arange(10) - 1) % 10))
    assert gap.labels.tally.correct < 0.1 * gap.test.count
    assert gap.labels.change.lost > 0.8 * len(second)
    untouched, renamed = (half.change for half in gap.labels.halves)
    assert (untouched.gained, untouched.lost, untouched.loss) == (0, 0, 0)
    assert renamed == gap.labels.change.model_copy(
        update={"count": renamed.count, "loss": renamed.loss, "loss_variance": renamed.loss_variance}
    )


@pytest.mark.parametrize(
    ("kind", "pixels", "dtype"),
    [
        ("brightness", brighten, np.uint8),
        ("inversion", invert, np.uint8),
        ("scale", lambda pixels: pixels / 255, np.float32),
    ],
)
def test_changed_pixels_are_restored(trained, clean, kind, pixels, dtype):
    gap, _, _ = trained.measure(change_test(trained.images, pixels, dtype=dtype))
    assert gap.pixels.choices == (kind, kind)
    assert gap.test.correct < clean.test.correct - 50
    if kind == "brightness":  # clipped values are lost
        assert gap.pixels.tally.correct == pytest.approx(clean.test.correct, abs=10)
        assert gap.pixels.tally.loss == pytest.approx(clean.test.loss, abs=0.05)
    else:
        assert gap.pixels.tally.correct == clean.test.correct
        assert gap.pixels.tally.loss == pytest.approx(clean.test.loss, abs=1e-5)
    assert gap.pixels.change.gained - gap.pixels.change.lost == gap.pixels.tally.correct - gap.test.correct
    assert gap.pixels.change.loss == pytest.approx(gap.pixels.tally.loss - gap.test.loss, abs=1e-9)
    assert sum(half.tally.correct for half in gap.pixels.halves) == gap.pixels.tally.correct
    assert sum(half.change.gained for half in gap.pixels.halves) == gap.pixels.change.gained
    assert sum(half.change.lost for half in gap.pixels.halves) == gap.pixels.change.lost
    assert gap.labels is None


def test_swapped_channels_are_restored_and_right_ones_are_kept(colored):
    clean, _, _ = colored.measure()
    assert clean.pixels is None
    gap, _, _ = colored.measure(change_test(colored.images, lambda pixels: pixels[..., ::-1]))
    assert gap.pixels.choices == ("channel_order", "channel_order")
    assert gap.pixels.tally.correct == clean.test.correct


@pytest.mark.parametrize(
    ("turn", "change"),
    [
        ("turn_left", lambda pixels: np.rot90(pixels, -1, (1, 2))),
        ("turn_right", lambda pixels: np.rot90(pixels, 1, (1, 2))),
        ("transpose", lambda pixels: pixels.transpose(0, 2, 1, 3)),
        ("upside_down", lambda pixels: np.rot90(pixels, 2, (1, 2))),
        ("flip_vertical", lambda pixels: np.flip(pixels, 1)),
        ("flip_horizontal", lambda pixels: np.flip(pixels, 2)),
    ],
)
def test_turned_and_mirrored_test_images_are_turned_back(trained, clean, turn, change):
    gap, _, _ = trained.measure(change_test(trained.images, change))
    assert gap.pixels.choices == (turn, turn)
    assert gap.test.correct < clean.test.correct - 50
    assert gap.pixels.tally.correct == clean.test.correct
    assert gap.pixels.tally.loss == pytest.approx(clean.test.loss, abs=1e-5)


def test_pixels_are_restored_even_if_the_labels_are_wrong_too(trained, clean):
    """With wrong labels, right pixels lower the accuracy, so accuracy alone would choose the wrong pixels."""
    gap, _, _ = trained.measure(change_test(trained.images, invert, shift_labels))
    assert gap.pixels.choices == ("inversion", "inversion")
    assert gap.labels.renamings == (tuple((np.arange(10) - 1) % 10),) * 2
    assert gap.labels.tally.correct == clean.test.correct


def test_pixels_are_not_tried_if_there_is_no_time(trained):
    gap, _, _ = trained.measure(change_test(trained.images, invert), try_pixels=False)
    assert gap.pixels is None


def invert_a_quarter(pixels: np.ndarray) -> np.ndarray:
    altered = pixels.copy()
    altered[::4] = 255 - altered[::4]
    return altered


def test_a_quarter_of_inverted_images_is_restored(trained, clean):
    """Inverting all images would not help."""
    gap, _, _ = trained.measure(change_test(trained.images, invert_a_quarter))
    assert gap.pixels.choices == ("inversion", "inversion")
    assert gap.pixels.share == pytest.approx(0.25, abs=0.01)
    assert gap.test.correct < clean.test.correct - 50
    assert gap.pixels.tally.correct == pytest.approx(clean.test.correct, abs=3)
    assert gap.pixels.change.count == gap.test.count
    assert gap.validation_pixels is None


def test_changed_pixels_of_validation_are_reported_outside_the_terms_of_the_gap(trained, clean):
    assert clean.validation_pixels is None
    for alter, share in ((invert_a_quarter, 0.25), (invert, None)):
        images = trained.images.images.copy()
        rows = trained.images.splits["validation"]
        images[rows] = alter(images[rows])
        gap, _, _ = trained.measure(replace(trained.images, images=images))
        assert gap.validation_pixels.choices == ("inversion", "inversion")
        assert gap.validation_pixels.share == (None if share is None else pytest.approx(share, abs=0.02))
        assert gap.validation_pixels.tally.correct == pytest.approx(clean.validation.correct, abs=3)
        assert (gap.pixels, gap.labels, gap.test) == (None, None, clean.test)


def test_inverted_images_are_not_restored_if_that_does_not_improve_the_answers(trained):
    """Their labels are random, so no pixels make the answers right."""
    random = np.random.default_rng(0)

    def draw_labels(labels: np.ndarray) -> np.ndarray:
        drawn = labels.copy()
        drawn[::4] = random.integers(0, 10, len(drawn[::4]))
        return drawn

    gap, _, _ = trained.measure(change_test(trained.images, invert_a_quarter, draw_labels))
    assert gap.pixels is None


def test_test_labels_are_recognized_with_validation_images_whose_pixels_were_restored(trained):
    """Inverted images are mostly assigned to a few classes, which hides that two labels are swapped."""
    swapped = np.arange(10)
    swapped[[3, 7]] = 7, 3
    images = change_test(trained.images, labels=lambda labels: swapped[labels])
    pixels, rows = images.images.copy(), images.splits["validation"]
    pixels[rows] = invert(pixels[rows])
    gap, _, _ = trained.measure(replace(images, images=pixels))
    assert gap.validation_pixels.choices == ("inversion", "inversion")
    assert gap.labels.renamings == (tuple(swapped),) * 2


def test_images_that_merely_look_different_are_not_changed(trained):
    """A test split without its four darkest classes differs from training, and no change improves it."""
    test = trained.images.splits["test"]
    bright = test[np.isin(trained.images.labels[test], [0, 2, 3, 5, 6, 8])]
    gap, _, _ = trained.measure(replace(trained.images, splits={**trained.images.splits, "test": bright}))
    assert gap.pixels is None
    assert gap.labels is None


def add_copies(images: ImageSet, test: int, validation: int) -> tuple[ImageSet, Relations]:
    """Make the first held-out images copies of training images; return the relations too."""
    copied, labels, copy_of = images.images.copy(), images.labels.copy(), np.arange(len(images.labels), dtype=np.int32)
    train = images.splits["train"]
    for split, count in (("test", test), ("validation", validation)):
        places = images.splits[split][:count]
        copied[places], labels[places] = images.images[train[:count]], images.labels[train[:count]]
        copy_of[places] = train[:count]
    return replace(images, images=copied, labels=labels), Relations(copy_of)


def test_held_out_images_with_copies_are_counted_separately(trained):
    images, relations = add_copies(trained.images, test=300, validation=40)
    gap, _, model = trained.measure(images, relations)
    for copies, split, count in ((gap.test_copies, "test", 300), (gap.validation_copies, "validation", 40)):
        places = images.splits[split]
        assert_tally(copies.copied, model, images.images[places[:count]], images.labels[places[:count]])
        assert_tally(copies.clean, model, images.images[places[count:]], images.labels[places[count:]])


def test_pixels_and_labels_are_restored_only_for_images_without_copies(trained):
    images, relations = add_copies(trained.images, test=300, validation=0)
    gap, _, _ = trained.measure(change_test(images, invert, shift_labels), relations)
    assert gap.pixels.tally.count == gap.labels.tally.count == 700
    assert gap.pixels.change.count == gap.test_copies.clean.count
    assert gap.validation_copies.copied is None


def test_a_copy_of_an_image_outside_the_training_limit_does_not_count(trained):
    images, relations = add_copies(trained.images, test=300, validation=0)
    training = trained.spec.training.model_copy(update={"train_limit": 1000})
    limited = trained.spec.model_copy(update={"training": training})
    used = select(images, limited).source["train"]
    expected = int(np.isin(images.splits["train"][:300], used).sum())
    assert 0 < expected < 300
    gap, _, _ = replace(trained, spec=limited).measure(images, relations)
    assert gap.test_copies.copied.count == expected


def test_members_of_a_group_count_as_copies_unless_they_are_a_whole_split(trained):
    images, relations = add_copies(trained.images, test=300, validation=40)
    validation, test, train = (images.splits[split] for split in ("validation", "test", "train"))
    group = np.arange(len(images.labels), dtype=np.int32)
    group[validation[:100]] = group[train[5]]
    group[test] = group[train[6]]
    gap, _, _ = trained.measure(images, replace(relations, group=group))
    assert gap.validation_copies.copied.count == 100
    assert gap.test_copies.copied.count == 300


def test_a_gap_knows_how_much_images_of_one_group_say(trained):
    images, relations = add_copies(trained.images, test=0, validation=0)
    validation, test = images.splits["validation"], images.splits["test"]
    _, data, model = trained.measure()
    rows = data.rows["validation"]
    right = model.predict(data.images[rows], verbose=0).argmax(axis=1) == data.labels[rows]
    group = np.arange(len(images.labels), dtype=np.int32)
    group[validation[~right]] = group[validation[~right][0]]  # what is answered wrongly belongs together
    group[test] = group[test[0]]
    gap, _, _ = trained.measure(images, replace(relations, group=group))
    assert gap.validation_copies.family == pytest.approx(measure_family(right, group[validation]))
    assert gap.validation_copies.family > 5
    assert gap.test_copies.family is None  # all of one group: nothing to compare


def test_groups_that_file_names_suggest_are_measured_apart_from_declared_ones(trained):
    images, relations = add_copies(trained.images, test=0, validation=0)
    patients = np.arange(len(images.labels)) // 25
    names = FileNames("".join(f"patient{patient}_{row}.png\n" for row, patient in enumerate(patients)).encode())
    _, data, model = trained.measure()
    gap, _, _ = trained.measure(images, relations, names=names)
    for split, copies in (("validation", gap.validation_copies), ("test", gap.test_copies)):
        rows = data.rows[split]
        right = model.predict(data.images[rows], verbose=0).argmax(axis=1) == data.labels[rows]
        assert copies.named_family == pytest.approx(measure_family(right, patients[images.splits[split]]))
        assert copies.named_by in RULES
        assert copies.family == pytest.approx(1.0, abs=0.02), "no one has declared them"


def test_the_temperature_minimizes_the_log_loss(trained):
    gap, data, model = trained.measure()
    rows = data.rows["validation"]
    labels = data.labels[rows]
    logits = keras.Model(model.input, model.get_layer("output").output).predict(data.images[rows], verbose=0)

    def loss(temperature: float) -> float:
        logs = log_softmax(logits.astype(np.float64) / temperature, axis=1)
        return -float(logs[np.arange(len(labels)), labels].mean())

    best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-8})
    assert gap.calibration.temperature == pytest.approx(best.x, abs=1e-4)
    assert gap.calibration.loss_before == pytest.approx(loss(1.0), abs=1e-5)
    assert gap.calibration.loss_after >= best.fun  # fitted on one half, measured on the other
    probabilities = model.predict(data.images[rows], verbose=0)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.digitize(confidence, np.linspace(0, 1, 16)[1:-1])
    error = sum(abs(right[bins == b].mean() - confidence[bins == b].mean()) * (bins == b).mean() for b in set(bins))
    assert gap.calibration.error_before == pytest.approx(error, abs=1e-5)


def test_an_overconfident_network_gets_a_higher_temperature(trained):
    """With four times the logits, the temperature is four times as high and the error after it is the same."""
    gap, _, _ = trained.measure()
    surer = keras.models.clone_model(trained.network)
    surer.set_weights(trained.network.get_weights())
    output = surer.get_layer("output")
    output.set_weights([4 * weight for weight in output.get_weights()])
    weights = replace(trained.weights, of_epoch={3: surer.get_weights()})
    sure, _, _ = replace(trained, network=surer, weights=weights).measure()
    assert sure.calibration.temperature == pytest.approx(4 * gap.calibration.temperature, rel=1e-3)
    assert sure.calibration.error_after == pytest.approx(gap.calibration.error_after, abs=1e-3)
    assert sure.calibration.error_before > gap.calibration.error_before


def test_no_temperature_is_fitted_to_fewer_than_fifty_validation_images(trained):
    few = trained.images.splits["validation"][:49]
    gap, _, _ = trained.measure(replace(trained.images, splits={**trained.images.splits, "validation": few}))
    assert gap.calibration is None
    assert gap.validation.count == 49


@pytest.mark.parametrize("labels", [lambda labels: labels, shift_labels], ids=["right", "renamed"])
def test_stored_predictions_of_a_job_give_the_figures_of_the_job(trained, labels, tmp_path):
    """Its `predictions.npz` is read like an uploaded file; copies are recognized by hashes."""
    images = change_test(trained.images, labels=labels)
    copy_of = np.arange(len(images.images), dtype=np.int32)
    for split in ("validation", "test"):
        copy_of[images.splits[split][:40]] = images.splits["train"][:40]
    data = select(images, trained.spec)
    predictor = Predictor(build_exported(trained.spec.network, data, trained.network), ResidentData(data), (0, 255))
    kept = {split: predictor.predict(rows) for split, rows in data.rows.items()}
    own = measure_gap(predictor, data, trained.weights, kept, Relations(copy_of), try_pixels=False)
    save_predictions(tmp_path / "predictions.npz", data, kept)
    with np.load(tmp_path / "predictions.npz") as arrays:
        hashes = {f"{split}_hashes": copy_of[arrays[f"{split}_indices"]].astype(str) for split in kept}
        np.savez(tmp_path / "with_hashes.npz", **arrays, **hashes)
    with (tmp_path / "with_hashes.npz").open("rb") as file:
        found = build_evaluation(read_predictions(file, 2**24)).gap
    assert found.training_answers.tenths[0].contradicted == own.training_answers.tenths[0].contradicted
    for split in ("train", "validation", "test"):
        assert_same_answers(getattr(found, split), getattr(own, split))
    for split in ("validation_copies", "test_copies"):
        assert_same_answers(getattr(found, split).clean, getattr(own, split).clean)
        assert_same_answers(getattr(found, split).copied, getattr(own, split).copied)
        assert getattr(found, split).copied.count == 40
    assert (found.labels is None) == (own.labels is None) == (labels(0) == 0)
    if own.labels is not None:
        assert found.labels.renamings == own.labels.renamings
        change, expected = found.labels.change, own.labels.change
        assert (change.gained, change.lost) == (expected.gained, expected.lost)
        assert change.loss == pytest.approx(expected.loss, rel=1e-3)


def assert_same_answers(tally: Tally, expected: Tally) -> None:
    """Losses from stored probabilities have the precision of float32."""
    assert (tally.count, tally.correct) == (expected.count, expected.correct)
    assert tally.loss == pytest.approx(expected.loss, rel=1e-4)
    assert tally.loss_variance == pytest.approx(expected.loss_variance, rel=1e-3)


# --- lost quality --------------------------------------------------------------------------------


def blur_pixels(pixels: np.ndarray) -> np.ndarray:
    return gaussian_filter(pixels, (0, 1.6, 1.6, 0)).round()


def add_noise(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels + np.random.default_rng(1).normal(0, 90, pixels.shape), 0, 255).round()


def enlarge(pixels: np.ndarray) -> np.ndarray:
    def reduce(image: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(image[..., 0].astype(np.uint8))
        return np.asarray(picture.resize((10, 10), Image.Resampling.BILINEAR).resize(picture.size, 2))[..., None]

    return np.stack([reduce(image) for image in pixels])


@pytest.mark.parametrize(
    ("kind", "change"),
    [("blur", blur_pixels), ("noise", add_noise), ("resolution", enlarge)],
)
def test_validation_made_like_degraded_test_images_loses_as_much(trained, clean, kind, change):
    """The cost is what the test images themselves lose, which only this test can know."""
    gap, data, exported = trained.measure(change_test(trained.images, pixels=change))
    lost = gap.quality
    assert lost is not None
    assert lost.kind == kind
    assert gap.pixels is None
    assert lost.change.count == data.rows["validation"].size
    cost = (lost.change.lost - lost.change.gained) / lost.change.count
    assert cost == pytest.approx(clean.test.accuracy - gap.test.accuracy, abs=0.06)
    assert lost.tally.accuracy == pytest.approx(gap.validation.accuracy - cost)
    pixels = change(data.images[data.rows["validation"]].astype(np.float64))
    assert lost.tally.accuracy == pytest.approx(
        (exported.predict(pixels, verbose=0).argmax(axis=1) == data.labels[data.rows["validation"]]).mean(), abs=0.05
    )


def test_blur_is_measured_behind_inverted_pixels(trained):
    gap, *_ = trained.measure(change_test(trained.images, pixels=lambda pixels: invert(blur_pixels(pixels))))
    assert gap.pixels.chosen == "inversion"
    assert gap.quality.kind == "blur"
    assert gap.quality.strength == pytest.approx(1.6, rel=0.15)


def test_test_images_of_the_same_quality_have_lost_nothing(trained, clean):
    assert clean.quality is None
    assert trained.measure(change_test(trained.images, pixels=blur_pixels), try_pixels=False)[0].quality is None


def test_copies_do_not_count_in_what_quality_costs(trained):
    validation = trained.images.splits["validation"]
    copy_of = np.arange(len(trained.images.labels), dtype=np.int32)
    copy_of[validation[:100]] = trained.images.splits["train"][:100]
    gap, *_ = trained.measure(change_test(trained.images, pixels=blur_pixels), Relations(copy_of))
    assert gap.quality.change.count == len(validation) - 100


def test_copies_are_counted_by_their_label_and_that_of_their_copy(trained):
    images = trained.images
    train, test = images.splits["train"], images.splits["test"]
    copy_of, labels = np.arange(len(images.labels), dtype=np.int32), images.labels.copy()
    copy_of[test[:80]] = train[:80]
    labels[test[:80]] = labels[train[:80]]
    labels[test[:30]] = (labels[test[:30]] + 1) % 10
    gap, *_ = trained.measure(replace(images, labels=labels), Relations(copy_of))
    pairs = gap.test_copies.label_pairs
    expected = Counter(zip(labels[test[:80]].tolist(), labels[train[:80]].tolist(), strict=True))
    assert {(own, other): count for own, other, count in pairs} == expected
    assert sum(count for own, other, count in pairs if own == other) == 50
    assert gap.validation_copies.label_pairs == ()
