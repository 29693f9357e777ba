"""Other programs that judge training curves, from their released wheels, used as their documentation says.

The group `bench` installs them. Each reads the losses of a training, one step per epoch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import losslint.checks
import losslint.parsing
import runmedic.checks
import runmedic.model
import runmedic.roles
import sk_autod
import trainspotter

from benchmarks.diagnosis.record import Record

Curve = Sequence[float]
NOWHERE = "history"  # they name the file that was read


@dataclass(frozen=True)
class Rival:
    """findings: names of what it reports for curves of training and validation losses.

    names: its names for the faults of the collection; a fault may have several.
    """

    name: str
    findings: Callable[[Curve, Curve], set[str]]
    names: Mapping[str, frozenset[str]]

    def codes(self, record: Record, training: str = "train_loss") -> set[str]:
        """The faults that it finds in a training; empty if it refuses to judge the curves."""
        curves = record.history[training], record.history["validation_loss"]
        found = self.findings(*([float("nan") if value is None else value for value in curve] for curve in curves))
        return {code for code, names in self.names.items() if names & found}


def _runmedic(training: Curve, validation: Curve) -> set[str]:
    run = runmedic.model.Run(NOWHERE, "csv", NOWHERE)
    for name, curve in (("train_loss", training), ("val_loss", validation)):
        for epoch, value in enumerate(curve, 1):
            run.get(name).add(epoch, value)
    run.finalize()
    found = runmedic.checks.run_checks(run, runmedic.roles.detect(run))
    return {one.check for one in found} | {f"{one.check}, {one.severity}" for one in found}


def _trainspotter(training: Curve, validation: Curve) -> set[str]:
    run = trainspotter.Run()
    for name, curve in (("train/loss", training), ("eval/loss", validation)):
        for epoch, value in enumerate(curve, 1):
            run.add_point(name, epoch, value)
    run.finalize()
    # Overfitting that it puts down to a divergence is an info.
    found = trainspotter.run_all(run)
    return {one.detector if one.severity != "info" else f"{one.detector}, info" for one in found}


def _sk_autod(training: Curve, validation: Curve) -> set[str]:
    if len(training) < 5 or not all(map(isfinite, (*training, *validation))):
        return set()  # it raises ValueError
    return {finding.detector_name for finding in sk_autod.diagnose(training, validation).findings}


def _losslint(training: Curve, validation: Curve) -> set[str]:
    epochs = list(range(1, len(training) + 1))
    log = losslint.parsing.RunLog(epochs, {"loss": [*training], "eval_loss": [*validation]}, Path(NOWHERE))
    return {one.check for one in losslint.checks.run_all_checks(log)}


def _named(**names: str | tuple[str, ...]) -> Mapping[str, frozenset[str]]:
    return {code: frozenset([known] if isinstance(known, str) else known) for code, known in names.items()}


RIVALS = (
    Rival(
        "runmedic 0.1.1",
        _runmedic,
        _named(overfitting="overfitting", diverged=("divergence", "non_finite"), underfitting="no_learning"),
    ),
    Rival('runmedic 0.1.1, without "mild"', _runmedic, _named(overfitting="overfitting, warning")),
    Rival("trainspotter 0.2.6", _trainspotter, _named(overfitting="overfitting", diverged="divergence")),
    Rival("trainspotter 0.2.6, its infos too", _trainspotter, _named(overfitting=("overfitting", "overfitting, info"))),
    Rival(
        "sk-autod 0.1.1",
        _sk_autod,
        _named(
            overfitting="Classic overfitting",
            diverged="Exploding gradient",
            underfitting="Underfitting",
            label_noise="Label noise floor",
            not_converged="LR too low",
        ),
    ),
    Rival(
        'sk-autod 0.1.1, "missed early stopping" too',
        _sk_autod,
        _named(overfitting=("Classic overfitting", "Missed early stopping")),
    ),
    Rival("losslint 0.4.1", _losslint, _named(overfitting="overfit_onset", diverged=("divergence", "nan_inf"))),
)
