"""The forms in which people write their own histories: JSON, records, printed lines."""

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.histories.documents import read_document
from heldout.histories.reading import read_text

EPOCHS = range(8)
NAMES = [
    "loss",
    "val_loss",
    "train",
    "val",
    "epoch",
    "step",
    "accuracy",
    "val_acc",
    "run",
    "phase",
    "key",
    "value",
    "1",
]
TRAIN = [2 / (epoch + 1) + 0.1 for epoch in EPOCHS]
VALIDATION = [2 / (epoch + 1) + 0.3 for epoch in EPOCHS]
TRAIN_ACCURACY = [0.5 + 0.05 * epoch for epoch in EPOCHS]
VALIDATION_ACCURACY = [0.5 + 0.03 * epoch for epoch in EPOCHS]


def assert_is_expected(found, digits=1e-9, with_accuracies=False):
    assert found.fit_loss == pytest.approx(tuple(TRAIN), rel=digits)
    assert found.validation_loss == pytest.approx(tuple(VALIDATION), rel=digits)
    if with_accuracies:
        assert found.fit_accuracy == pytest.approx(tuple(TRAIN_ACCURACY), rel=digits)
        assert found.validation_accuracy == pytest.approx(tuple(VALIDATION_ACCURACY), rel=digits)
    assert found.numbers == ()


def records(first=1):
    return [{"epoch": n + first, "train_loss": TRAIN[n], "val_loss": VALIDATION[n], "note": "x"} for n in EPOCHS]


def records_by_split():
    curves = (("train", TRAIN), ("val", VALIDATION))
    return [{"epoch": n, "phase": split, "loss": values[n]} for n in EPOCHS for split, values in curves]


DOCUMENTS = {
    "Keras' dictionary": {"loss": TRAIN, "val_loss": VALIDATION, "lr": [0.1] * 8},
    "it below `history`": {"history": {"loss": TRAIN, "val_loss": VALIDATION}, "params": {"epochs": 8}},
    "curves by split": {"train": {"loss": TRAIN}, "val": {"loss": VALIDATION}},
    "curves by figure": {"loss": {"train": TRAIN, "val": VALIDATION}},
    "plurals": {"train_losses": TRAIN, "val_losses": VALIDATION},
    "camel case": {"trainLoss": TRAIN, "valLoss": VALIDATION},
    "records": records(),
    "records that count from 0": records(0),
    "records below a name": {"config": {"lr": 0.1}, "epochs": records()},
    "records with splits inside": [
        {"train": {"loss": a}, "val": {"loss": b}} for a, b in zip(TRAIN, VALIDATION, strict=True)
    ],
    "records by split": {"train": [{"loss": loss} for loss in TRAIN], "val": [{"loss": loss} for loss in VALIDATION]},
    "a record a split": records_by_split(),
    "a record for each epoch's number": {str(record["epoch"]): record for record in records()},
    "columns by place": {
        name: {str(at): value for at, value in enumerate(values)}
        for name, values in (("loss", TRAIN), ("val_loss", VALIDATION))
    },
    "the log of Hugging Face": {
        "log_history": [
            row
            for n in EPOCHS
            for row in ({"epoch": n + 1.0, "loss": TRAIN[n]}, {"epoch": n + 1.0, "eval_loss": VALIDATION[n]})
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("shape", DOCUMENTS)
def test_json_of_any_common_shape_gives_the_same_history(shape):
    assert_is_expected(read_document(DOCUMENTS[shape]).history)
    assert_is_expected(read_text(json.dumps(DOCUMENTS[shape], indent=1)).history)


@pytest.mark.parametrize("rows", [records(), records_by_split(), DOCUMENTS["records with splits inside"]])
def test_json_lines_give_the_same_history(rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    assert_is_expected(read_text(text).history)
    # The last line may still be incomplete.
    assert_is_expected(read_text(text + '{"epoch": 9, "train_lo').history)


def test_a_dictionary_printed_by_python_is_read():
    curves = {"loss": TRAIN, "val_loss": [*VALIDATION[:-1], math.nan]}
    read = read_text(str(curves)).history
    assert read.validation_loss == (*VALIDATION[:-1], None)
    numpys = str(curves).replace("[2.1,", "[np.float64(2.1),")
    assert read_text(numpys).history == read


PRINTED = {
    "the loop of PyTorch's tutorial": (
        "Epoch {n0}/7\n----------\ntrain Loss: {a:.6f} Acc: {c:.6f}\nval Loss: {b:.6f} Acc: {d:.6f}\n\n"
    ),
    "one line an epoch": "epoch={n1} train_loss={a:.6f} train_acc={c:.6f} val_loss={b:.6f} val_acc={d:.6f} lr=1e-3\n",
    "a logger's line": (
        "[INFO] Epoch [{n1}/8], Step [5/5], Train Loss: {a:.6f}, Train Acc: {pc:.4f}% | "
        "Val Loss: {b:.6f}, Val Acc: {pd:.4f}%\n"
    ),
    "brackets": "Epoch {n1} [Train] loss: {a:.6f} acc: {c:.6f}\nEpoch {n1} [Val] loss: {b:.6f} acc: {d:.6f}\n",
    "commas between": "Epoch: {n1:03d}, Train Loss: {a:.6f}, Val Loss: {b:.6f}, Train Acc: {c:.6f}, Val Acc: {d:.6f}\n",
    "commas before": "2024-01-01 10:00:00,123 - INFO - epoch={n1} loss={a:.6f} val_loss={b:.6f} acc={c} val_acc={d}\n",
    "a progress bar": (
        "Epoch {n0}: 100%|##| 5/5 [00:01<00:00, 20.0it/s, v_num=0, loss={a:.6f}, acc={c:.6f}]\n"
        "val_loss: {b:.6f}, val_acc: {d:.6f}\n"
    ),
    "no colons": "[  {n1}] train loss {a:.6f} | train acc {c:.6f} | val loss {b:.6f} | val acc {d:.6f}\n",
    "counts": (
        "Train Epoch: {n1} [0/600 (0%)]\tLoss: 9.0\nTrain Epoch: {n1} [64/600 (11%)]\tLoss: {a:.6f}\tAcc: {c:.6f}\n\n"
        "Test set: Average loss: {b:.6f}, Accuracy: {td:.0f}/1000 (50%)\n"
    ),
    "a table with bars": "| {n1} | {a} | {b} | {c} | {d} |\n",
}  # fmt: skip


@pytest.mark.parametrize("way", PRINTED)
def test_printed_lines_give_the_same_history(way):
    head = "| Epoch | Train loss | Val loss | Train acc | Val acc |\n|---|---|---|---|---|\n" if "bars" in way else ""
    lines = [
        PRINTED[way].format(n0=n, n1=n + 1, a=TRAIN[n], b=VALIDATION[n], c=c, d=d, pc=100 * c, pd=100 * d, td=1000 * d)
        for n, (c, d) in enumerate(zip(TRAIN_ACCURACY, VALIDATION_ACCURACY, strict=True))
    ]
    tail = "" if head or way == "counts" else "Training complete in 1m 3s\nBest val Acc: 0.94\nTest loss: 0.5\n"
    assert_is_expected(read_text(head + "".join(lines) + tail).history, 1e-5, with_accuracies=True)


def test_printed_decimal_commas_are_understood():
    lines = [
        f"Epoche {n + 1}: Train Loss: {TRAIN[n]:.6f}, Val Loss: {VALIDATION[n]:.6f}".replace(".", ",") for n in EPOCHS
    ]
    assert_is_expected(read_text("\n".join(lines)).history, 1e-5)


def test_a_long_table_with_a_column_of_splits_gives_the_same_history():
    curves = (("train", "loss", TRAIN), ("val", "loss", VALIDATION))
    rows = [f"{n + 1},{split},{name},{values[n]}" for n in EPOCHS for split, name, values in curves]
    assert_is_expected(read_text("\n".join(["epoch,split,metric,value", *rows])).history)


def test_lines_printed_after_the_training_change_no_epoch():
    lines = [
        f"Epoch {n + 1}/8\n5/5 - 1s - 9ms/step - loss: {TRAIN[n]:.6f} - val_loss: {VALIDATION[n]:.6f}\n" for n in EPOCHS
    ]
    evaluated = "10/10 - 0s - 2ms/step - accuracy: 0.1 - loss: 99.0\nRestoring model weights from the best epoch: 4.\n"
    assert_is_expected(read_text("".join(lines) + evaluated).history, 1e-5)


def test_the_accuracy_in_a_notebooks_table_is_validation_accuracy():
    lines = [f"{n + 1}\t{'No log' if n < 2 else TRAIN[n]}\t{VALIDATION[n]}\t{VALIDATION_ACCURACY[n]}\n" for n in EPOCHS]
    found = read_text("Epoch\tTraining Loss\tValidation Loss\tAccuracy\n" + "".join(lines)).history
    assert found.numbers == (3, 4, 5, 6, 7, 8)
    assert (found.fit_loss, found.validation_accuracy) == (tuple(TRAIN[2:]), tuple(VALIDATION_ACCURACY[2:]))
    assert found.fit_accuracy == ()


@pytest.mark.parametrize("others", [{"accuracy": 0.5}, {"acc": 0.5}])
def test_an_accuracy_without_a_split_next_to_named_losses_is_ignored(others):
    rows = [{"train_loss": a, "val_loss": b, **others} for a, b in zip(TRAIN, VALIDATION, strict=True)]
    found = read_document(rows).history
    assert (found.fit_accuracy, found.validation_accuracy) == ((), ())
    # In Keras' form, the other accuracy is named as validation.
    rows = [{"loss": a, "val_loss": b, "val_accuracy": 0.4, **others} for a, b in zip(TRAIN, VALIDATION, strict=True)]
    assert read_document(rows).history.fit_accuracy == (0.5,) * 8


def test_top_1_accuracy_is_preferred_to_top_5():
    lines = [f"{n},{TRAIN[n]},{VALIDATION[n]},{100 * VALIDATION_ACCURACY[n]},99,0.1\n" for n in EPOCHS]
    found = read_text("epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n" + "".join(lines)).history
    assert found.validation_accuracy == pytest.approx(VALIDATION_ACCURACY)


# --- refusals say what was found ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\n", "its first line is 'hello'"),
        ("a,b\n1,2\n", "its curves are: 'a', 'b'"),
        ("epoch,loss\n", "its first line is 'epoch,loss'"),
        ("epoch,loss,val_loss\n0,1,05,1,2\n", "5 values, '0,1,05,1,2', below 3 names; numbers with a decimal comma"),
        ("Epoch 1/2\n5/5 - 1s - loss: 1.0\n", "its curves are: 'epoch', 'loss'"),
        ('[{"epoch": 1, "loss": 0.5}]', "its curves are: 'epoch', 'loss'"),
        ("[1, 2]", r"but this is \[1, 2\]"),
        ('{"train": {"loss": [1]}, "val": {"loss": [1, 2]}}', "differ in length: training loss 1, validation loss 2"),
        ('{"loss": [1.0', "delimiter"),
        ("[ 1] it begins\n[ 2] it goes on\n", "no line has figures with such names"),
    ],
)  # fmt: skip
def test_text_without_a_history_is_refused_with_what_was_found(text, message):
    with pytest.raises(ValueError, match=f"(?i){message}"):
        read_text(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_read_or_refused(content):
    for document in (content, [content], {"train": content, "val": content}, {"log_history": [content, content]}):
        with suppress(ValueError):
            read_document(document)


@given(
    st.lists(st.sampled_from([*NAMES, "epoch 1", "Epoch 2/3", ":", "=", "0.5", "nan", "-", "\r", "\n", "{", "}", ","]))
)
def test_any_printed_text_is_read_or_refused(parts):
    for text in (" ".join(parts), ",".join(parts), "epoch loss val_loss\n" + " ".join(parts)):
        with suppress(ValueError):
            read_text(text)


def test_too_many_lines_are_refused():
    lines = "".join(f"epoch {n} train_loss: 1 val_loss: 1\n" for n in range(11))
    assert len(read_text(lines, max_rows=11).history.fit_loss) == 11
    with pytest.raises(ValueError, match="there are more than 10 lines of figures"):
        read_text(lines, max_rows=10)
    with pytest.raises(ValueError, match="there are 8 records; expected at most 7"):
        read_document(records(), max_rows=7)
