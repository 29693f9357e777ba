"""Adapters to other programs that judge curves report what these programs say about the same files."""

import contextlib
import csv
import io
import json
import sys
from pathlib import Path

import losslint.cli
import pytest
import runmedic.cli
import sk_autod.cli
import trainspotter.cli

from benchmarks.diagnosis.measures import f1
from benchmarks.diagnosis.record import FOLDER, Record, read
from benchmarks.diagnosis.rivals import RIVALS
from benchmarks.diagnosis.score import judged, predicted_codes
from benchmarks.diagnosis.truth import truths

OVERFIT = ([1 / epoch for epoch in range(1, 31)], [0.5 + abs(7 - epoch) / 100 for epoch in range(30)])
FALLING = ([2.0 * 0.9**epoch for epoch in range(30)], [2.1 * 0.91**epoch for epoch in range(30)])


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """One draw that was not used to set any rule."""
    return [record for file in sorted(FOLDER.glob("*-8.jsonl")) for record in read(file, Record)]


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_each_program_finds_a_validation_loss_that_rises_while_training_falls(rival):
    names = rival.names["overfitting"]
    assert names & rival.findings(*OVERFIT)
    assert not names & rival.findings(*FALLING)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_nan_losses_and_short_histories_are_not_overfitting_and_do_not_crash(rival):
    for curves in (([1.0, float("nan")] * 5, [1.0] * 10), ([1.0, 0.9, 0.8], [1.0, 1.1, 1.2])):
        assert not rival.names["overfitting"] & rival.findings(*curves)


def findings_of_command(name: str, training: list[float], validation: list[float], folder: Path) -> set[str]:
    """Run the program's own command on a file with these curves."""
    file = folder / "history.csv"
    with file.open("w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(["step", "train_loss", "val_loss"])
        writer.writerows(zip(range(1, len(training) + 1), training, validation, strict=True))
    match name.split()[0]:
        case "runmedic":
            (run,) = json.loads(_printed(lambda: runmedic.cli.main(["diagnose", str(file), "--json"])))
            return {finding["check"] for finding in run["findings"]} | {
                f"{f['check']}, {f['severity']}" for f in run["findings"]
            }
        case "trainspotter":
            output = json.loads(_printed(lambda: trainspotter.cli.main(["analyze", str(file), "--output", "json"])))
            return {
                finding["detector"] if finding["severity"] != "info" else f"{finding['detector']}, info"
                for finding in output["findings"]
            }
        case "losslint":
            output = json.loads(_printed(lambda: losslint.cli.main(["check", str(file), "--format", "json"])))
            return {finding["check"] for finding in output["findings"]}
    curves = [",".join(map(str, curve)) for curve in (training, validation)]
    arguments = ["sk-autod", "check", "--train-loss", curves[0], "--val-loss", curves[1], "--output", "json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        output = json.loads(_printed(sk_autod.cli.main))
    return {finding["detector_name"] for finding in output["findings"]}


def _printed(command) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        command()
    return out.getvalue()


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_the_adapter_reports_what_the_program_reports_of_a_file(rival, records, tmp_path):
    reported = 0
    for record in [record for record in records if record.kept is not None and len(record.history["train_loss"]) >= 5][
        :40
    ]:
        curves = record.history["train_loss"], record.history["validation_loss"]
        found = rival.findings(*curves)
        assert found == findings_of_command(rival.name, *curves, tmp_path), record.drawn.key
        reported += bool(found)
    assert reported >= 5


def test_the_diagnosis_detects_overfitting_better_than_each_program(records):
    of_part = judged(records, truths(records))
    ours = f1([("loss_rises" in predicted_codes(record), truth) for record, truth in of_part])
    theirs = {
        rival.name: f1([("overfitting" in rival.codes(record), truth) for record, truth in of_part]) for rival in RIVALS
    }
    assert max(theirs.values()) <= ours, theirs
