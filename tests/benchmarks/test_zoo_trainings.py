"""Trainings of the zoo: their plan, what interventions measure, which cause comes first, and the score."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from benchmarks.diagnosis.trained import Judge
from benchmarks.zoo import __main__ as command
from benchmarks.zoo import audited, noise, score, trained
from benchmarks.zoo.cuts import Cut, cut_of
from benchmarks.zoo.data import image_set
from benchmarks.zoo.draw import SEALED_LOT, Sealed, sealed_sets
from benchmarks.zoo.faults import FAULTS, LATER, QUARTER, plant
from benchmarks.zoo.interventions import answers_of, figures
from benchmarks.zoo.record import ZooRecord, append, keys_of, pack, read_set, unpack, unpack_losses, unpack_training
from benchmarks.zoo.sets import Built
from benchmarks.zoo.trainings import COPIES, PLAN_OF_SIXTH, Training, all_trainings, digest_of_plan, sets_of
from benchmarks.zoo.truth import FIGURES, GAP, LOSS, TRAINING, Cause, causes_of, first_of, is_known, points_of

CLASSES, SIDE = 4, 12


@pytest.fixture(scope="module")
def cut() -> Cut:
    """800 random pictures in 80 groups, 200 of them the referee's; each class has its own mean."""
    rng = np.random.default_rng(5)
    labels = np.tile(np.arange(CLASSES, dtype=np.int32), 200)
    means = np.array([60, 80, 160, 180])[labels][:, None, None, None]
    images = (means + rng.integers(-50, 51, (800, SIDE, SIDE, 1))).astype(np.uint8)
    built = Built(images, labels, tuple("0123"), np.repeat(np.arange(80, dtype=np.int32), 10), 0)
    whole = cut_of(built, (4, 2, 2, 2))
    train = whole.splits["train"]
    return replace(whole, splits={**whole.splits, "train": train[:160], "spare": train[160:]})


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A network that predicts the class whose brightness is nearest to the image's."""
    centres = np.array([60, 80, 160, 180]) / 255
    found = keras.Sequential([keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    found.set_weights([np.tile(2 * centres / SIDE**2, (SIDE**2, 1)), -(centres**2)])
    return found


def measure_accuracy(network: keras.Model, data: Cut, rows) -> float:
    answers = network.predict(data.images[rows].astype("float32") / 255, verbose=0).argmax(axis=1)
    return float(np.mean(answers == data.labels[rows]))


@pytest.mark.parametrize(
    ("fault", "split"), [("rotated_test", "test"), ("inverted_validation", "validation"), ("exact_train_test", "test")]
)
def test_the_effect_of_a_planted_fault_equals_numpys_count(fault, split, cut, network):
    planted = plant(cut, [(fault, 1), ("wrong_random_training", 0)], 7)
    judge = Judge(network, image_set(planted.data))
    rows = cut.splits["referee"]
    (figure,) = figures(planted, judge, answers_of(judge, cut.images[rows], cut.labels[rows]))
    assert (figure["fault"], figure["split"], figure["level"]) == (fault, split, 1)
    rows = cut.splits[split]
    without = plant(cut, [("wrong_random_training", 0)], 7).data
    expected = measure_accuracy(network, planted.data, rows) - measure_accuracy(network, without, rows)
    assert figure["served"]["accuracy"][0] == pytest.approx(expected, abs=1e-6)
    assert expected != 0


def test_the_true_effect_of_a_fault_is_measured_on_the_referees_images(cut, network):
    planted = plant(cut, [("reversed_test", 2)], 7)
    judge = Judge(network, image_set(planted.data))
    rows = cut.splits["referee"]
    (figure,) = figures(planted, judge, answers_of(judge, cut.images[rows], cut.labels[rows]))
    renamed = replace(cut, labels=CLASSES - 1 - cut.labels)
    expected = measure_accuracy(network, renamed, rows) - measure_accuracy(network, cut, rows)
    assert figure["true"]["accuracy"][0] == pytest.approx(expected, abs=1e-6)


def test_copies_raise_a_figure_by_their_share_of_the_advantage_of_training_images(cut, network):
    planted = plant(cut, [("exact_train_test", 2)], 7)
    judge = Judge(network, image_set(planted.data))
    referee, train = cut.splits["referee"], cut.splits["train"]
    (figure,) = figures(planted, judge, answers_of(judge, cut.images[referee], cut.labels[referee]))
    expected = 0.5 * (measure_accuracy(network, cut, train) - measure_accuracy(network, cut, referee))
    assert figure["true"]["accuracy"][0] == pytest.approx(expected, abs=1e-6)


@pytest.fixture(scope="module")
def record(cut) -> ZooRecord:
    """A training with inverted test images and few training images."""
    faults = (("few_training", 0), ("inverted_test", 2))
    training = Training(
        "latin_capitals", 0, "planted", "plain", 160, 12, batch=8, rate=0.01, faults=faults, seed=1
    )  # fmt: skip
    return trained.train(training, cut)


def test_a_record_has_what_the_diagnosis_and_the_truth_need(record, tmp_path):
    assert len(record.history["train_loss"]) == 12
    assert record.diagnosis().gap is not None
    truth = record.referee
    assert set(truth["without"]) == {"few_training"}
    assert [figure["fault"] for figure in truth["figures"]] == ["inverted_test"]
    causes = {cause.name: cause for cause in causes_of(record)}
    assert causes["inverted_test"].matters
    assert first_of([*causes.values()]) == {"scale_mismatch"}
    append(record, tmp_path)
    append(replace(record, condition={**record.condition, "number": 1}), tmp_path)
    first, second = read_set("latin_capitals", tmp_path)
    assert first.diagnosis() == record.diagnosis()
    assert keys_of("latin_capitals", tmp_path) == {first.training.key, second.training.key}
    assert len(keys_of("latin_capitals", tmp_path)) == 2


def test_the_recorded_answers_agree_with_the_recorded_figures(record, cut):
    for split in ("validation", "test"):
        losses, right = unpack(record.answers[split], len(cut.splits[split]))
        figures_of_split = record.kept["final"][split]
        assert right.mean() == pytest.approx(figures_of_split["accuracy"], abs=1e-4)
        assert losses.mean() == pytest.approx(figures_of_split["loss"], rel=2e-3)
    again = unpack(pack(np.array([0.5, 2.0], np.float32), np.array([True, False])), 2)
    assert (again[0].tolist(), again[1].tolist()) == ([0.5, 2.0], [True, False])


def test_the_recorded_answers_to_training_images_agree_with_the_recorded_figures(record):
    train = unpack_training(record.answers["train"])
    figures, measured = record.kept["final"]["train"], record.gap["training_answers"]
    right = train.classes == train.labels
    assert right.mean() == pytest.approx(figures["accuracy"], abs=1e-4)
    assert right.sum() == measured["correct"]
    assert train.losses.mean() == pytest.approx(figures["loss"], rel=0.05)
    surest = np.argsort(-train.probabilities, kind="stable")[: len(right) // 10]
    assert train.probabilities[surest].mean() == pytest.approx(measured["tenths"][0]["probability"], rel=0.01)
    sure = np.sort(unpack_losses(record.answers["sure_test"]))
    tenth = record.gap["test_answers"]["tenths"][0]
    assert np.exp(-sure[: tenth["count"]]).mean() == pytest.approx(tenth["probability"], rel=0.01)
    sums = unpack_losses(record.answers["loss_sums"])
    assert np.quantile(sums, 0.5) / 12 == pytest.approx(record.gap["training_losses"]["quantiles"][4], rel=0.05)


def test_a_kept_training_gets_its_answers_by_training_again_to_the_same_figures(record, cut, monkeypatch):
    monkeypatch.setattr(noise, "training_cut", lambda *about: cut)
    names = [name for name in record.answers if name not in ("validation", "test")]
    lacking = replace(
        record,
        gap={name: value for name, value in record.gap.items() if name not in noise.MEASURED},
        answers={name: packed for name, packed in record.answers.items() if name not in names},
    )
    assert noise.answered(lacking) == record
    other = replace(lacking, history=record.history | {"train_loss": record.history["train_loss"][::-1]})
    assert noise.answered(other) == other


def test_the_sample_has_every_training_with_wrong_labels_of_its_sets():
    assert len(set(noise.sample_sets())) == noise.SETS
    records = list(read_set("hebrew_letters"))
    chosen = noise.choose([record.training for record in records])
    assert {
        record.training.key for record in records if any("wrong_" in name for name, _ in record.training.faults)
    } < chosen
    quarters = [noise.quarter_of(name) for name in noise.sample_sets()]
    assert {training.faults[0][0] for training in quarters} == set(noise.KINDS)
    assert {FAULTS[name].strengths[level] for training in quarters for name, level in training.faults} == {0.25}


def test_auditing_again_finds_the_same(record, cut):
    forgotten = replace(record, audit=[], gap=record.gap | {"validation_copies": None})
    again = audited.audited(forgotten, cut)
    assert again.audit == record.audit
    assert again.gap["validation_copies"]["clean"] == pytest.approx(record.gap["validation_copies"]["clean"], rel=0.01)
    assert again.gap["test_copies"] == record.gap["test_copies"]


# --- which cause comes first --------------------------------------------------------------------------


def cause(step: int, code: str, points: float, half: float = 0.01, *, matters: bool | None = True) -> Cause:
    return Cause(code, step, frozenset({code}), points, points - half, points + half, matters)


def test_untrue_figures_come_before_costlier_causes():
    causes = [cause(GAP, "too_little_data", 0.55), cause(FIGURES, "scale_mismatch", 0.37)]
    assert first_of(causes) == {"scale_mismatch"}
    assert first_of([*causes, cause(FIGURES, "leakage", 0.1)]) == {"scale_mismatch"}
    assert first_of([*causes, cause(FIGURES, "leakage", 0.36, 0.05)]) == {"scale_mismatch", "leakage"}


def test_a_cause_without_cost_never_hides_a_costly_cause():
    causes = [cause(FIGURES, "leakage", 0.005, matters=False), cause(GAP, "too_little_data", 0.72)]
    assert first_of(causes) == {"too_little_data"}
    assert first_of([cause(FIGURES, "leakage", 0.02, 0.03, matters=None), causes[1]]) == {"leakage", "too_little_data"}


def test_broken_training_comes_before_the_rest_of_the_gap_and_the_loss_comes_last():
    rest = [cause(LOSS, "overconfidence", 0, 0), cause(GAP, "label_noise", 0.2), cause(GAP, "split_shift", 0.04)]
    assert first_of([*rest, cause(TRAINING, "not_converged", 0.03)]) == {"not_converged"}
    assert first_of(rest) == {"label_noise"}
    assert first_of(rest[:1]) == {"overconfidence"}
    assert {"healthy", "cannot_tell"} <= first_of([])


def test_a_network_that_has_learned_nothing_is_not_healthy(record):
    kept = {
        **record.kept,
        "final": {**record.kept["final"], "train": {**record.kept["final"]["train"], "accuracy": 0.27}},
    }
    truth = {**record.referee, "figures": [], "without": {}, "larger": None, "longer": None, "temperature": None}
    # Whether a class is lost is decided by a few images, which other versions of the libraries answer differently.
    causes = [cause for cause in causes_of(replace(record, kept=kept, referee=truth)) if cause.name != "collapsed"]
    assert first_of(causes) == {"not_converged", "underfitting"}
    causes = [replace(cause, matters=None) for cause in causes if cause.name == "poor_training"]
    assert "healthy" not in first_of(causes)


def test_copies_count_by_their_advantage_over_their_split():
    truth = {"clean": {"accuracy": [0.5, 0.01]}, "splits": {"test": {"accuracy": [0.3, 0.02]}}}
    copied = {"fault": "exact_train_test", "level": 2, "split": "test", "served": {"accuracy": [0.31, 0.03]}}
    # Half of the images are copies, of which 90% are answered correctly: 0.2 is half of the advantage over 50%.
    points, error = points_of(truth, copied | {"true": {"accuracy": [0.2, 0.5 * (0.01**2 + 0.03**2) ** 0.5]}})
    assert points == pytest.approx(0.5 * (0.9 - 0.3))
    assert error == pytest.approx(0.5 * (0.03**2 + 0.02**2) ** 0.5)
    assert points_of(truth, copied | {"true": None}) == (0.31, 0.03)
    renamed = copied | {"fault": "rotated_test", "true": {"accuracy": [0.4, 0.01]}}
    assert points_of(truth, renamed) == (0.31, 0.03)


def test_without_a_referee_only_untrue_figures_decide_what_comes_first(record):
    small = replace(record, referee={**record.referee, "count": 0})
    assert is_known(small, [cause(FIGURES, "leakage", 0.2)])
    assert not is_known(small, [cause(GAP, "too_little_data", 0.2)])
    assert is_known(record, [cause(GAP, "too_little_data", 0.2)])


# --- the plan and the collection ----------------------------------------------------------------------


def test_the_plan_has_nine_hundred_trainings_and_each_fault_in_both_halves():
    halves = {part: all_trainings(part) for part in ("open", "drawn")}
    assert sum(map(len, halves.values())) >= 900
    for part, of_half in halves.items():
        assert {training.dataset for training in of_half} == set(sets_of(part))
        assert len({training.key for training in of_half}) == len(of_half)
        assert {name for training in of_half for name, _ in training.faults} == set(FAULTS) - LATER
        assert {level for training in of_half for _, level in training.faults} == {0, 1, 2}


def test_every_record_was_planned_and_can_be_judged():
    for part in ("open", "drawn", "second", "third", "fourth", "fifth"):
        planned = {training.key for training in all_trainings(part)}
        for name in sets_of(part):
            for record in read_set(name):
                assert record.training.key in planned
                assert first_of(causes_of(record))
    sealed = {training.key for training in all_trainings("sixth")}
    assert all(keys_of(name) <= sealed for name in sealed_sets())


def test_the_plan_of_the_sixth_lot_is_the_one_that_was_committed_before_its_trainings():
    digest, *keys = PLAN_OF_SIXTH.read_text("utf-8").splitlines()
    planned = all_trainings("sixth")
    assert [training.key for training in planned] == keys
    assert digest_of_plan(planned) == digest
    assert len(planned) >= 150
    assert {training.dataset for training in planned} == set(sealed_sets())
    for beginning in range(0, len(planned), len(sealed_sets())):  # each set has one training in each turn
        assert {training.dataset for training in planned[beginning : beginning + len(sealed_sets())]} == {
            *sealed_sets()
        }
    faults = {name for training in planned for name, _ in training.faults}
    assert faults >= LATER - {"recut_validation_test"}
    quarters = [fault for training in planned for fault in training.faults if fault[1] == QUARTER]
    assert len(quarters) >= 12
    harmless = [training for training in planned if training.faults and training.regime in ("hardly", "broken")]
    assert len(harmless) == 2 * len(sealed_sets())
    assert all(name in COPIES for training in harmless for name, _ in training.faults)


# --- the score ----------------------------------------------------------------------------------------


def test_sealed_sets_are_scored_only_by_the_final_judgment():
    with pytest.raises(Sealed):
        list(score.tables(SEALED_LOT))
    with pytest.raises(Sealed):
        list(read_set(sealed_sets()[0]))
    with pytest.raises(SystemExit, match="judge once"):
        command.main(["score", "--sealed"])


def test_intervals_resample_whole_sets():
    values = {"one": [1.0] * 90, "other": [0.0] * 10}
    drawn = score.resampled(values, lambda drawn: float(np.mean(drawn)))
    assert len(drawn) == 2000
    assert set(drawn.tolist()) == {0.0, 0.9, 1.0}  # the first set twice, both sets, the second twice
    assert np.mean(drawn == 0.9) == pytest.approx(0.5, abs=0.05)
    assert score.share(values) == "90 of 100: 90.0% (0.0–100.0)"


def test_the_tables_count_correct_verdicts(record):
    judged = score.judge(record)
    lines = "\n".join(score.tables_of([judged], with_confusions=True))
    assert f"| the verdict is right | {int(judged.is_right)} of 1" in lines
    assert "| latin_capitals | 1 |" in lines
