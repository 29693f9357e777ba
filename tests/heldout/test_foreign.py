"""Histories that other programs have recorded: which curve is which, and what is refused."""

import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.diagnosis.foreign import from_keras, from_scalars, from_table


def test_keras_names_are_understood_and_nonsense_is_refused():
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
    ],
)
def test_curves_are_known_by_the_words_in_their_names(training, heldout):
    read = from_keras({training: [0.5, 0.25], heldout: [0.75, 0.5], "epoch_learning_rate": [1.0, 1.0]})
    figure = "loss" if "loss" in training.lower() else "accuracy"
    assert getattr(read, f"fit_{figure}") == (0.5, 0.25)
    assert getattr(read, f"validation_{figure}") == (0.75, 0.5)


def test_of_several_losses_the_plain_one_is_meant_and_of_equals_none():
    names = ("loss", "digit_loss", "val_loss", "val_digit_loss", "top_5_accuracy", "batch_loss")
    values = {name: [float(place)] for place, name in enumerate(names)}
    assert (from_keras(values).fit_loss, from_keras(values).validation_loss) == ((0.0,), (2.0,))
    assert from_keras(values).fit_accuracy == ()
    with pytest.raises(ValueError, match="several curves could be the training loss: 'a_loss', 'b_loss'"):
        from_keras({"a_loss": [1.0], "b_loss": [1.0], "val_loss": [1.0]})


def test_a_table_with_a_line_for_each_split_is_put_together_by_epoch():
    lines = ["epoch,step,train_loss,val_loss", "0,9,,2.0", "0,10,1.5,", "1,19,,1.8", "1,20,1.0,", "2,30,0.5,"]
    read = from_table("\n".join(lines))
    assert read.fit_loss == (1.5, 1.0)  # epoch 2 was not validated
    assert read.validation_loss == (2.0, 1.8)


def test_a_value_that_is_not_finite_stays_one_and_an_empty_cell_is_no_value():
    read = from_table("epoch;loss;val_loss\n0;1.0;1.0\n1;nan;inf\n2;0.5;NA\n")
    assert read.fit_loss == (1.0, None)
    assert read.validation_loss == (1.0, None)


def test_scalars_are_joined_by_their_steps():
    read = from_scalars({"train/loss": [(0, 3.0), (10, 2.0), (20, 1.0)], "val/loss": [(20, 1.5), (10, 2.5)]})
    assert (read.fit_loss, read.validation_loss) == ((2.0, 1.0), (2.5, 1.5))
    with pytest.raises(ValueError, match="no epoch in common: training loss, validation loss"):
        from_scalars({"train/loss": [(1, 3.0)], "val/loss": [(2, 3.0)]})


@pytest.mark.parametrize("text", ["", "epoch", "epoch,loss\n", "\x00,\x00\n1,2", "loss,val_loss\nx,y\n"])
def test_a_table_without_curves_is_refused_with_the_names_that_it_has(text):
    with pytest.raises(ValueError, match="its curves are"):
        from_table(text)


@given(st.text())
def test_any_text_is_a_history_or_is_refused(text):
    for table in (text, f"epoch,loss,val_loss\n{text}"):
        with suppress(ValueError):
            from_table(table)


def test_a_cell_that_is_too_long_for_a_table_is_refused():
    with pytest.raises(ValueError, match="cannot be read"):
        from_table(f"loss,val_loss\n{'1' * 200_000},1\n")
