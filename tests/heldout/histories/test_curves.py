"""Histories of other programs: how curves are identified, and what is refused."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.diagnosis.history import History, parse_figure, read_history
from heldout.histories.documents import read_curves
from heldout.histories.reading import read_scalars, read_table


def from_keras(history: object) -> History:
    return read_curves(history).history


def from_table(text: str, max_rows: int | None = None) -> History:
    return read_table(text, max_rows=max_rows).history


def from_scalars(scalars: object) -> History:
    return read_scalars(scalars).history


def test_keras_names_are_recognized_and_nonsense_is_refused():
    read = from_keras({"loss": [1.0, math.nan], "val_loss": [1.0, 2.0], "acc": [0.5, 0.6], "lr": [1, 1]})
    assert read.fit_loss == (1.0, None)
    assert read.fit_accuracy == (0.5, 0.6)
    for nonsense in ({}, {"loss": [1.0]}, {"loss": [1.0], "val_loss": [1.0, 2.0]}, {"val_loss": [1.0]}):
        with pytest.raises(ValueError, match=r"history|length"):
            from_keras(nonsense)


@pytest.mark.parametrize(
    ("training", "heldout"),
    [
        ("loss", "val_loss"),
        ("train_loss", "valid_loss"),
        ("train/epoch_loss", "validation/epoch_loss"),
        ("Loss/train", "Loss/val"),
        ("accuracy", "val_accuracy"),
        ("sparse_categorical_accuracy", "val_sparse_categorical_accuracy"),
        ("training acc", "validation acc"),
        ("tr_loss", "va_loss"),
        ("train/acc1", "val/acc1"),
    ],
)
def test_curves_are_identified_by_the_words_in_their_names(training, heldout):
    read = from_keras({training: [0.5, 0.25], heldout: [0.75, 0.5], "epoch_learning_rate": [1.0, 1.0]})
    figure = "loss" if "loss" in training.lower() else "accuracy"
    assert getattr(read, f"fit_{figure}") == (0.5, 0.25)
    assert getattr(read, f"validation_{figure}") == (0.75, 0.5)


def test_the_plain_loss_is_chosen_and_equal_candidates_are_refused():
    names = ("loss", "digit_loss", "val_loss", "val_digit_loss", "top_5_accuracy", "batch_loss")
    values = {name: [float(place)] for place, name in enumerate(names)}
    assert (from_keras(values).fit_loss, from_keras(values).validation_loss) == ((0.0,), (2.0,))
    assert from_keras(values).fit_accuracy == ()
    with pytest.raises(ValueError, match="several curves could be the training loss: 'a_loss', 'b_loss'"):
        from_keras({"a_loss": [1.0], "b_loss": [1.0], "val_loss": [1.0]})


def test_a_loss_may_be_named_by_its_formula_if_there_is_no_plain_loss():
    values = {"train_cross_entropy": [0.5], "val_cross_entropy": [0.75]}
    assert (from_keras(values).fit_loss, from_keras(values).validation_loss) == ((0.5,), (0.75,))
    assert from_keras({**values, "loss": [1.0], "val_loss": [2.0]}).fit_loss == (1.0,)


def test_a_test_curve_replaces_a_missing_validation_curve_and_that_is_reported():
    curves = {"train_loss": [0.5, 0.25], "test_loss": [0.75, 0.5], "train_acc": [0.5, 0.6], "test_acc": [0.4, 0.5]}
    found = read_curves(curves)
    assert (found.history.validation_loss, found.history.validation_accuracy) == ((0.75, 0.5), (0.4, 0.5))
    assert "the test split was used instead ('test_loss', 'test_acc')" in found.notes[0]
    beside = read_curves(curves | {"val_loss": [0.8, 0.7]})
    assert (beside.history.validation_loss, beside.history.validation_accuracy, beside.notes) == ((0.8, 0.7), (), ())
    # An accuracy without a split belongs to neither.
    assert read_curves({"train_loss": [0.5], "test_loss": [0.6], "accuracy": [0.5]}).history.fit_accuracy == ()


@pytest.mark.parametrize(
    "other", ["test", "testing", "l2", "regularization", "regularisation", "aux", "auxiliary", "penalty", "kl"]
)
def test_test_losses_and_parts_of_a_loss_are_not_taken_for_training(other):
    for name in (f"{other}_loss", f"{other.title()}/loss", f"loss ({other})"):
        with pytest.raises(ValueError, match="needs a training and a validation curve"):
            from_keras({name: [1.0], "val_loss": [2.0]})
        assert from_keras({name: [1.0], "a_loss": [3.0], "val_loss": [2.0]}).fit_loss == (3.0,)
        # They are not taken for validation either.
        assert from_keras({"loss": [1.0], "val_a_loss": [2.0], f"val_{name}": [3.0]}).validation_loss == (2.0,)


def test_a_folder_shared_by_all_curves_is_ignored():
    def curves(training, validation):
        return {f"{training}/epoch_loss": [(0, 1.0)], f"{validation}/epoch_loss": [(0, 2.0)]}

    for runs in (("l2_0.01/train", "l2_0.01/validation"), ("my test_train", "my test_validation")):
        assert from_scalars(curves(*runs)).fit_loss == (1.0,)
    for runs in (("test", "validation"), ("logs/test", "logs/validation")):
        with pytest.raises(ValueError, match="needs a training and a validation curve"):
            from_scalars(curves(*runs))
    tags = {f"my test/{tag}": [(0, float(place))] for place, tag in enumerate(["train_loss", "val_loss", "test_loss"])}
    assert (from_scalars(tags).fit_loss, from_scalars(tags).validation_loss) == ((0.0,), (1.0,))


def test_only_curves_must_be_lists_of_numbers():
    beside = {"lr": "constant", "params": {"epochs": 1}, "test_loss": 0.5, "best_loss": 0.1}
    assert from_keras({"loss": [1.0], "val_loss": [2.0], **beside}).validation_loss == (2.0,)
    for wrong, message in (
        (0.5, "is 0.5; expected a list"),
        ("x", "is 'x'"),
        (["x"], "received 'x'"),
        ([[1.0]], "number"),
    ):
        with pytest.raises(ValueError, match=message):
            from_keras({"loss": [1.0], "val_loss": wrong})


def test_the_error_message_is_short_even_if_names_are_long():
    with pytest.raises(ValueError, match="its curves are") as refused:
        from_keras({"x" * 10_000 + str(place): [1.0] for place in range(100)})
    assert len(str(refused.value)) < 2000


def test_absurd_numbers_count_as_not_finite():
    absurd = [1e308, -1e200, 10**400, -(10**400), math.inf, math.nan, None]
    assert set(map(parse_figure, absurd)) == {None}
    assert list(map(parse_figure, [1e100, -1e100, 0, 5e-324])) == [1e100, -1e100, 0.0, 5e-324]
    read = from_keras({"loss": [1.0, *absurd], "val_loss": [2, *absurd]})
    assert (read.fit_loss, read.validation_loss) == ((1.0, *[None] * 7), (2.0, *[None] * 7))
    assert from_table(f"loss,val_loss\n1,1e308\n{'9' * 400},2\n").fit_loss == (1.0, None)
    assert from_scalars({"train/loss": [(0, 10**400)], "val/loss": [(0, 1e101)]}).fit_loss == (None,)
    assert read_history([{"train_loss": 10**400}]).train_loss == (None,)


def test_an_absent_figure_was_not_recorded_and_null_was_not_finite():
    assert read_history([{"x": 1}] * 9) == read_history([])
    read = read_history([{"train_loss": None}, {"train_loss": 1.0, "fit_loss": 2.0}])
    assert (read.train_loss, read.fit_loss, read.validation_loss) == ((None, 1.0), (None, 2.0), ())


# --- the numbers of epochs ---------------------------------------------------------------------------


def table_of(epochs, is_validated=lambda epoch: True, name="epoch") -> str:
    lines = (f"{epoch},1.0,{2.0 if is_validated(epoch) else ''}" for epoch in epochs)
    return "\n".join([f"{name},loss,val_loss", *lines])


@pytest.mark.parametrize("name", ["epoch", "Epoch", " epoch"])
def test_epochs_keep_their_numbers_if_a_table_omits_some(name):
    read = from_table(table_of(range(100), lambda epoch: epoch % 5 == 4, name))
    assert read.numbers == tuple(range(5, 101, 5))  # the file counts from 0
    assert len(read.fit_loss) == 20
    read = from_table(table_of(range(1, 101), lambda epoch: epoch % 5 == 0, name))
    assert read.numbers == tuple(range(5, 101, 5))
    assert from_table(table_of([0, 1, 2, 4])).numbers == (1, 2, 3, 5)


def test_a_continued_table_keeps_its_numbers():
    assert from_table(table_of(range(50, 90))).numbers == tuple(range(50, 90))
    # Only all rows together show whether the table counts from 0.
    assert from_table(table_of(range(90), lambda epoch: epoch >= 50)).numbers == tuple(range(51, 91))


def test_uninformative_epoch_numbers_are_left_out():
    for first in (0, 1):
        assert from_table(table_of(range(first, first + 9))).numbers == ()
    assert from_table("loss,val_loss\n1,\n1,2\n").numbers == ()
    assert from_table(table_of(["x", "", "nan", "1e300"])).numbers == ()
    assert from_table(table_of([5, 6, ""])).numbers == ()  # the number of the last epoch is unknown
    assert from_keras({"loss": [1.0] * 3, "val_loss": [1.0] * 3}).numbers == ()


def test_steps_are_epoch_numbers_only_if_the_tag_says_so():
    def numbers(training, validation, steps, validated=None):
        pairs = {training: [(step, 1.0) for step in steps]}
        return from_scalars(pairs | {validation: [(step, 1.0) for step in validated or steps]}).numbers

    keras = ("train/epoch_loss", "validation/epoch_loss")
    assert numbers(*keras, range(9)) == ()
    assert numbers(*keras, range(50), range(4, 50, 5)) == tuple(range(5, 51, 5))
    assert numbers(*keras, range(50, 60)) == tuple(range(50, 60))
    # These steps count batches, if anything.
    for tags in (("train/loss", "val/loss"), ("train_loss_epoch", "val_loss_epoch"), ("train/epoch_loss", "val/loss")):
        assert numbers(*tags, range(390, 4000, 390)) == ()


# --- tables ------------------------------------------------------------------------------------------


def test_a_table_with_a_line_per_split_is_joined_by_epoch():
    lines = ["epoch,step,train_loss,val_loss", "0,9,,2.0", "0,10,1.5,", "1,19,,1.8", "1,20,1.0,", "2,30,0.5,"]
    read = from_table("\n".join(lines))
    assert read.fit_loss == (1.5, 1.0)  # epoch 2 was not validated
    assert read.validation_loss == (2.0, 1.8)


def test_values_that_are_not_finite_are_kept_and_empty_cells_are_skipped():
    read = from_table("epoch;loss;val_loss\n0;1.0;1.0\n1;nan;inf\n2;0.5;NA\n")
    assert read.fit_loss == (1.0, None)
    assert read.validation_loss == (1.0, None)


def test_scalars_are_joined_by_their_steps():
    read = from_scalars({"train/loss": [(0, 3.0), (10, 2.0), (20, 1.0)], "val/loss": [(20, 1.5), (10, 2.5)]})
    assert (read.fit_loss, read.validation_loss) == ((2.0, 1.0), (2.5, 1.5))
    with pytest.raises(ValueError, match="no epoch in common: training loss, validation loss"):
        from_scalars({"train/loss": [(2, 3.0)], "val/loss": [(1, 3.0)]})


@pytest.mark.parametrize("text", ["", "epoch", "epoch,loss\n", "\x00,\x00\n1,2", "loss,val_loss\nx,y\n"])
def test_a_table_without_curves_is_refused_with_its_column_names(text):
    with pytest.raises(ValueError, match="its curves are"):
        from_table(text)


@given(st.text())
def test_any_text_is_read_or_refused(text):
    for table in (text, f"epoch,loss,val_loss\n{text}"):
        with suppress(ValueError):
            from_table(table)


def test_a_table_with_too_many_rows_is_refused():
    table = table_of(range(11)) + "\n\n"
    assert len(from_table(table, 11).fit_loss) == 11
    with pytest.raises(ValueError, match="the table has 11 rows below its names; expected at most 10"):
        from_table(table, 10)


@pytest.mark.timeout(20)  # a second if linear in the text's length, minutes if proportional to names times rows
def test_many_columns_and_many_short_rows_are_read_in_linear_time():
    names = ",".join(["loss", "val_loss", *map(str, range(100_000))])
    assert len(from_table("\n".join([names, *["1,2"] * 10_000])).fit_loss) == 10_000


def test_a_cell_that_is_too_long_for_a_table_is_refused():
    with pytest.raises(ValueError, match="cannot be read"):
        from_table(f"loss,val_loss\n{'1' * 200_000},1\n")
