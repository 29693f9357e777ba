"""Several runs in one file, filler cells, infinite figures, and percentages."""

import json

import pytest

from heldout.histories.documents import read_document
from heldout.histories.joining import SeveralRunsError
from heldout.histories.reading import read_scalars, read_table, read_text
from heldout.histories.verdict import diagnose_read

NAN = float("nan")


def table(*curves, names=("loss", "val_loss"), first=0, header=True) -> str:
    rows = [f"{first + at},{','.join(map(str, row))}\n" for at, row in enumerate(zip(*curves, strict=True))]
    return (f"epoch,{','.join(names)}\n" if header else "") + "".join(rows)


# --- several runs ------------------------------------------------------------------------------------

HEALTHY = [1.0, 0.8, 0.7, 0.6, 0.55, 0.52, 0.5, 0.49]
TURNED = [1.0, 0.6, 0.5, 0.7, 0.9, 1.1, 1.3, 1.5]
FALLING = [1.0, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01]

TWO_RUNS = {
    "appended": table(HEALTHY, HEALTHY) + table(FALLING, TURNED, header=False),
    "with another line of names": table(HEALTHY, HEALTHY) + table(FALLING, TURNED),
    "records": "".join(
        json.dumps({"epoch": at, "loss": a, "val_loss": b}) + "\n"
        for run in ((HEALTHY, HEALTHY), (FALLING, TURNED))
        for at, (a, b) in enumerate(zip(*run, strict=True))
    ),
    "printed": "".join(
        f"Epoch {at}/8\n5/5 - 1s - loss: {a} - val_loss: {b}\n"
        for run in ((HEALTHY, HEALTHY), (FALLING, TURNED))
        for at, (a, b) in enumerate(zip(*run, strict=True), 1)
    ),
    "a column of runs": "run,epoch,loss,val_loss\n"
    + "".join(
        f"a,{at},{a},{a}\nb,{at},{b},{c}\n"
        for at, (a, b, c) in enumerate(zip(HEALTHY, FALLING, TURNED, strict=True))
    ),
    "training and validation in rows of their own": "epoch,loss,val_loss\n"
    + "".join(
        f"{at},{a},\n{at},,{b}\n"
        for run in ((HEALTHY, HEALTHY), (FALLING, TURNED))
        for at, (a, b) in enumerate(zip(*run, strict=True))
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TWO_RUNS)
def test_two_runs_in_one_file_are_not_mixed(kind):
    with pytest.raises(SeveralRunsError, match=r"there are 2 runs \(1: .*8 epochs, 2: .*8 epochs\); say which one"):
        read_text(TWO_RUNS[kind])
    first, second = (read_text(TWO_RUNS[kind], run) for run in (1, 2))
    assert (first.history.fit_loss, first.history.validation_loss) == (tuple(HEALTHY), tuple(HEALTHY))
    assert (second.history.fit_loss, second.history.validation_loss) == (tuple(FALLING), tuple(TURNED))
    assert diagnose_read(second).verdict == "overfitting"


def test_a_run_that_does_not_exist_is_refused():
    for run in (2, 9):
        with pytest.raises(SeveralRunsError, match=f"there is 1 run, and no run {run}"):
            read_table(table(HEALTHY, HEALTHY), run)
    assert read_table(table(HEALTHY, HEALTHY), 1) == read_table(table(HEALTHY, HEALTHY))
    with pytest.raises(SeveralRunsError, match="there is 1 run, and no run 2"):
        read_document({"train": {"loss": HEALTHY}, "val": {"loss": HEALTHY}}, 2)


def test_repeated_headers_separate_runs_without_epochs():
    lines = "".join(f"{a},{b}\n" for a, b in zip(FALLING, TURNED, strict=True))
    with pytest.raises(SeveralRunsError, match=r"1: 8 points, 2: 8 points"):
        read_text(f"loss,val_loss\n{lines}loss,val_loss\n{lines}")


def test_runs_without_epochs_are_separated_where_the_loss_starts_over():
    def rows(*runs):
        return "loss,val_loss\n" + "".join(f"{a},{b}\n" for run in runs for a, b in zip(*run, strict=True))

    two = rows((FALLING, TURNED), (FALLING, HEALTHY))
    with pytest.raises(SeveralRunsError, match=r"1: 8 points, 2: 8 points"):
        read_text(two)
    assert read_text(two, 2).history.validation_loss == tuple(HEALTHY)
    # A spike or a breakdown does not start a new run.
    for curve in ([*FALLING, 1.0, 1.0, 1.1], [*FALLING, 5.0, *FALLING[3:]]):
        assert len(read_text(rows((curve, curve))).history.fit_loss) == len(curve)


def test_a_resumed_training_is_one_run_and_later_rows_count():
    resumed = table(HEALTHY, HEALTHY) + table([9.0] * 4, [8.0] * 4, first=6, header=False)
    found = read_text(resumed).history
    assert found.fit_loss == (*HEALTHY[:6], 9.0, 9.0, 9.0, 9.0)
    assert found.validation_loss == (*HEALTHY[:6], 8.0, 8.0, 8.0, 8.0)
    assert found.numbers == ()


def test_rows_of_training_before_all_rows_of_validation_are_one_run():
    text = "epoch,loss,val_loss\n" + "".join(f"{at},{a},\n" for at, a in enumerate(FALLING))
    found = read_text(text + "".join(f"{at},,{b}\n" for at, b in enumerate(TURNED))).history
    assert (found.fit_loss, found.validation_loss) == (tuple(FALLING), tuple(TURNED))


def test_a_table_in_reverse_order_is_one_run():
    head, *lines = table(FALLING, TURNED).splitlines()
    found = read_text("\n".join([head, *reversed(lines)])).history
    assert (found.fit_loss, found.validation_loss) == (tuple(FALLING), tuple(TURNED))


def test_runs_with_missing_curves_are_refused():
    text = table(FALLING, TURNED) + table(HEALTHY, [""] * 8, header=False)
    with pytest.raises(ValueError, match=r"several runs follow each other.*'loss 2', 'val_loss 1'"):
        read_text(text)


def test_folders_of_tensorboard_are_runs_and_a_continued_file_is_two():
    def scalars(folder, training, validation):
        curves = {"train/epoch_loss": training, "validation/epoch_loss": validation}
        return {folder + name: list(enumerate(values)) for name, values in curves.items()}

    both = scalars("logs/a/", HEALTHY, HEALTHY) | scalars("logs/b/", FALLING, TURNED)
    with pytest.raises(SeveralRunsError, match="1: 'a', 8 epochs, 2: 'b', 8 epochs"):
        read_scalars(both)
    assert read_scalars(both, 2).history.validation_loss == tuple(TURNED)
    appended = {name: points * 2 for name, points in scalars("", HEALTHY, HEALTHY).items()}
    with pytest.raises(SeveralRunsError, match="1: 8 epochs, 2: 8 epochs"):
        read_scalars(appended)


def test_runs_in_one_chart_of_wandb_are_distinguished():
    names = [f'"{run} - {curve}"' for run in ("a", "b") for curve in ("train_loss", "val_loss")]
    lines = [",".join(map(str, row)) for row in zip(range(8), HEALTHY, HEALTHY, FALLING, TURNED, strict=True)]
    text = "\n".join([",".join(['"Step"', *names]), *lines])
    with pytest.raises(SeveralRunsError, match="1: 'a', 8 points, 2: 'b', 8 points"):
        read_text(text)
    assert read_text(text, 2).history.validation_loss == tuple(TURNED)


@pytest.mark.timeout(60)  # a second or two if linear in the text's length, minutes if quadratic
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("".join(f"{at},1,1\n" for pair in range(8_000) for at in (pair + 2, pair + 1)), None),
        ("2,1,1\n1,1,1\n" * 8_000, "positions restart more than 1,000 times"),
    ],
)
def test_many_restarts_take_linear_time(rows, message):
    if message is None:
        assert len(read_text("epoch,loss,val_loss\n0,1,1\n" + rows).history.fit_loss) == 8_001
        return
    with pytest.raises(ValueError, match=message):
        read_text("epoch,loss,val_loss\n" + rows)


def test_more_runs_or_names_than_any_file_has_are_refused():
    rows = "".join(f"{at},1,1,1\n" for at in range(1001))
    with pytest.raises(ValueError, match="the column 'run' names 1,001 runs; expected at most 1,000"):
        read_text("run,epoch,loss,val_loss\n" + rows)
    with pytest.raises(ValueError, match="there are 10,001 names with figures; expected at most 10,000"):
        read_document([{str(at): 1 for at in range(10_001)}])


# --- NaN ---------------------------------------------------------------------------------------------


def test_nan_is_not_a_divergence_if_another_row_has_the_value():
    lines = [f"{at},{a},NaN\n{at},NaN,{b}\n" for at, (a, b) in enumerate(zip(HEALTHY, HEALTHY, strict=True))]
    read = read_text("epoch,train_loss,val_loss\n" + "".join(lines))
    assert (read.history.fit_loss, read.history.validation_loss) == (tuple(HEALTHY), tuple(HEALTHY))
    # The same without epochs, and as null in records.
    rows = [row for a in HEALTHY for row in ({"train_loss": a, "val_loss": None}, {"train_loss": None, "val_loss": a})]
    assert read_document(rows).history == read.history


def test_nan_of_rows_that_are_logged_occasionally_is_not_a_divergence():
    lengths = (2, 3, 1, 2, 3)  # rows of training before each validation
    rows = []
    for epoch, length in enumerate(lengths):
        rows += [f"{3.0 - epoch / 2},NaN\n"] * length + [f"NaN,{3.5 - epoch / 2}\n"]
    read = read_text("train_loss,val_loss\n" + "".join(rows))
    assert read.history.fit_loss == (3.0, 2.5, 2.0, 1.5, 1.0)
    assert read.history.validation_loss == (3.5, 3.0, 2.5, 2.0, 1.5)


def test_nan_between_validated_epochs_is_not_a_divergence():
    training = [1 / (epoch + 1) for epoch in range(20)]
    validated = [value if epoch % 5 == 4 else NAN for epoch, value in enumerate(training)]
    found = read_text(table(training, validated)).history
    assert found.numbers == (5, 10, 15, 20)
    assert found.validation_loss == tuple(training[4::5])
    assert read_text(table(training[:10], validated[:10])).history.numbers == (5, 10)
    assert read_text(table(training[:5], validated[:5])).history.validation_loss == (training[4],)
    # In an epoch that was due for validation, NaN is a figure that was not finite.
    found = read_text(table(training, [*validated[:19], NAN])).history
    assert found.validation_loss == (*training[4:15:5], None)


@pytest.mark.parametrize("column", [0, 1])
def test_nan_in_one_of_many_epochs_is_a_divergence(column):
    curves = [list(HEALTHY), list(HEALTHY)]
    curves[column][4] = NAN
    assert diagnose_read(read_text(table(*curves))).verdict == "diverged"
    for at in range(4, 8):
        curves[0][at] = curves[1][at] = NAN
    assert diagnose_read(read_text(table(*curves))).verdict == "diverged"
    rows = [
        {"train_loss": None if a != a else a, "val_loss": None if b != b else b} for a, b in zip(*curves, strict=True)
    ]
    assert diagnose_read(read_document(rows)).verdict == "diverged"


def test_infinity_is_never_a_gap():
    lines = [f"{at},{a},NaN\n{at},NaN,{b}\n" for at, (a, b) in enumerate(zip(HEALTHY, HEALTHY, strict=True))]
    lines[5] = "5,inf,NaN\n5,NaN,0.5\n"
    assert diagnose_read(read_text("epoch,train_loss,val_loss\n" + "".join(lines))).verdict == "diverged"


def test_a_validation_curve_of_nothing_but_nan_was_never_measured():
    message = "these contain only NaN, like a mean over no images: 'val_loss'"
    with pytest.raises(ValueError, match=message):
        read_text(table(HEALTHY, [NAN] * 8))
    with pytest.raises(ValueError, match=message):
        read_document({"loss": HEALTHY, "val_loss": [NAN] * 8})
    # If training fails as well, it is a divergence.
    training = [*HEALTHY[:1], *[NAN] * 7]
    for read in (read_text(table(training, [NAN] * 8)), read_document({"loss": training, "val_loss": [NAN] * 8})):
        assert diagnose_read(read).verdict == "diverged"
    # An accuracy that was never measured does not matter if losses were.
    read = read_text(table(HEALTHY, HEALTHY, [NAN] * 8, names=("loss", "val_loss", "val_accuracy")))
    assert read.history.validation_accuracy == ()


# --- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "epoch;loss;val_loss\n0;1,05;1.234,5\n1;0,5;1,2e-1\n",
        "epoch\tloss\tval_loss\n0\t1,05\t1234,5\n1\t0,5\t0,12\n",
        'epoch,loss,val_loss\n0,"1,05","1234,5"\n1,"0,5","0,12"\n',
    ],
)
def test_decimal_commas_are_understood(text):
    found = read_text(text).history
    assert (found.fit_loss, found.validation_loss) == ((1.05, 0.5), (1234.5, 0.12))


ACCURACY = [0.5, 0.6, 0.7, 0.75]
WORSE = [0.5, 0.55, 0.6, 0.65]
NAMES = ("accuracy", "val_accuracy")


def percent(values):
    return [100 * value for value in values]


def test_percentages_are_read_as_fractions():
    expected = read_text(table(ACCURACY, WORSE, names=NAMES))
    found = read_text(table(percent(ACCURACY), percent(WORSE), names=NAMES))
    assert found.history.fit_accuracy == pytest.approx(ACCURACY)
    assert found.history.validation_accuracy == pytest.approx(WORSE)
    assert found.notes == expected.notes == ()
    signs = [f"{value} %" for value in percent(WORSE)]
    assert read_text(table(percent(ACCURACY), signs, names=NAMES)).history == found.history
    keras = read_document({"accuracy": percent(ACCURACY), "val_accuracy": percent(WORSE)})
    assert keras.history == found.history


def test_percentages_next_to_fractions_are_read_as_fractions_and_that_is_reported():
    read = read_text(table(percent(ACCURACY), WORSE, names=NAMES))
    assert read.history.fit_accuracy == pytest.approx(ACCURACY)
    assert read.history.validation_accuracy == tuple(WORSE)
    message = (
        "The training accuracy is in percent and the validation accuracy in fractions; both were read as fractions."
    )
    assert diagnose_read(read).explanation.endswith(message)
    assert message not in diagnose_read(read_text(table(ACCURACY, WORSE, names=NAMES))).explanation


def test_one_curve_in_both_units_is_refused():
    mixed = [0.5, 0.55, 60.0, 65.0]
    with pytest.raises(
        ValueError, match=r"validation accuracy contains fractions \(up to 0.55\) and percentages \(from 60\)"
    ):
        read_text(table(ACCURACY, mixed, names=NAMES))


@pytest.mark.parametrize("values", [[0.1, 0.9, 3.0, 12.0], [0.001, 0.4, 30.0, 60.0], [0.0, 0.0, 45.0, 60.0]])
def test_percentages_may_start_near_zero(values):
    found = read_text(table(values, values, names=NAMES)).history
    assert found.validation_accuracy == pytest.approx([value / 100 for value in values])


def test_losses_are_never_taken_for_percentages():
    assert read_text(table([90.0, 50.0], [95.0, 60.0])).history.fit_loss == (90.0, 50.0)
