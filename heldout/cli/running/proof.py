"""`heldout cure --run COMMAND --prove`: makes sure of the verdict on a script's training, by short trainings here."""

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heldout.cli.command import Service
from heldout.cli.diagnosing import diagnose_predictions
from heldout.cli.outcome import Refused
from heldout.cli.running.memory import FOLDER
from heldout.cli.running.script import ANSWERS, SEED, Script, parse_arms, parse_script
from heldout.cli.running.training import Limits, Training, start
from heldout.cli.screen import print_blocks, say
from heldout.proofs.catalogue import EXPERIMENTS
from heldout.proofs.experiment import Experiment, Subject, Variant
from heldout.proofs.figures import Figures, Split, pack_right
from heldout.proofs.planning import Budget, list_impossible, plan, spread_probabilities
from heldout.spec.documents import merge
from heldout.views.study_run import AssignedRunView
from heldout.words.labels import get_verdict_name
from heldout.words.proofs import describe_state

if TYPE_CHECKING:
    from heldout.histories.recorded import ReadHistory
    from heldout.views.diagnosis import DiagnosisView

# The placeholders by which experiments change a script's training, and the experiments that each makes possible.
EPOCHS, RATE, FRACTION = "epochs", "learning_rate", "train_fraction"
NEEDS: Mapping[str, tuple[str, ...]] = {"longer": (EPOCHS,), "rates": (RATE,), "half": (EPOCHS, FRACTION), "seeds": ()}
TRAININGS, WORK = 6, 20.0
TURN_S = 0.1


@dataclass(frozen=True)
class _Trained:
    """The figures of one training of the script, and where its files lie. None if it failed."""

    figures: Figures | None
    training: Training


def prove_script(service: Service, command: str, arms: list[str], limits: Limits, trainings: int | None) -> None:
    """Train the script as its arm says, diagnose it, and train what decides between causes. Needs no service.

    Raises:
        Refused: there is not exactly one arm, a placeholder is missing, or the script's training fails.
    """
    script, own = parse_script(command), parse_arms(arms)
    if len(own) != 1:
        raise Refused(
            f"Received {len(own)} of --arm; --prove expects one, the training whose verdict it makes sure of, such as "
            "--arm base:epochs=10,learning_rate=0.001,train_fraction=1."
        )
    parameters = own[0]["parameters"]
    _check(script, parameters)
    folder = Path(FOLDER) / "proof"
    folder.mkdir(parents=True, exist_ok=True)
    base = _train(script, folder, "base", {**parameters, SEED: 0}, limits)
    if base.figures is None:
        raise Refused(f"The training itself failed: {base.training.explain_failure(limits.seconds)}")
    found = _diagnose(service, base.training)
    print_blocks(_lay_out(found))
    experiments = {
        name: EXPERIMENTS[name] for name, needed in NEEDS.items() if set(needed) <= script.names & parameters.keys()
    }
    subject = _make_subject(found, base.figures, parameters, experiments)
    for name, needed in NEEDS.items():
        if name not in experiments:
            names = ", ".join(f"{{{placeholder}}}" for placeholder in needed)
            say(f"Not tried: {EXPERIMENTS[name].title.lower()}, since --run and --arm lack {names}.")
    done: dict[str, Figures | None] = {}
    most, work, shown = trainings or TRAININGS, 0.0, 0
    while True:
        planned = plan(subject, done, Budget(most - len(done), WORK - work), experiments)
        for tried in planned.outcomes.tried[shown:]:
            say(tried.judgement.sentence)
        shown = len(planned.outcomes.tried)
        if not planned.steps:
            break
        for variant in planned.steps[0].variants:
            values = _fill(subject, variant, parameters)
            done[variant.key] = _train(script, folder, variant.key, values, limits).figures
            work += variant.work
    say(describe_state("ended", planned.reason, get_verdict_name(planned.verdict), ""))
    say("Only the script's own placeholders could be changed; its network and its images were not.")
    for name, why in list_impossible(subject, experiments):
        say(f"Not tried: {EXPERIMENTS[name].title.lower()}. {why}")


def _lay_out(found: "DiagnosisView") -> Any:
    from heldout.documents.diagnosis import build_diagnosis

    return build_diagnosis(found, with_details=False)


def _check(script: Script, parameters: Mapping[str, Any]) -> None:
    for name in (SEED, ANSWERS):
        if name not in script.names:
            raise Refused(f"--run has no {{{name}}}; expected {{{SEED}}} and {{{ANSWERS}}} as for a study.")
    unknown = script.names - {SEED, ANSWERS, "arm"} - parameters.keys()
    if unknown:
        raise Refused(f"--run has {{{min(unknown)}}}, but --arm has no value for it.")
    for name in (EPOCHS, RATE, FRACTION):
        if name in parameters and not isinstance(parameters[name], int | float):
            raise Refused(f"--arm sets {name} to {parameters[name]!r}; expected a number.")


def _train(script: Script, folder: Path, key: str, values: Mapping[str, Any], limits: Limits) -> _Trained:
    """Run the script once, to its end."""
    base = folder / key
    command = script.fill({**values, "arm": key, ANSWERS: str(base.with_name(f"{base.name}.npz").absolute())})
    say(f"$ {shlex.join(command)}")
    seed: int = values[SEED]
    # Only a service's runs have a token and a lease.
    run = AssignedRunView(run=key, token="", arm=key, parameters={}, seed=seed, fold=None, folds=None, lease_s=0)
    training = start(run, command, base, limits, None)
    try:
        while not training.has_ended(limits.seconds):
            time.sleep(TURN_S)
    finally:
        training.end()
    failed = training.explain_failure(limits.seconds)
    if failed is not None:
        say(f"{key}: {failed} Its log: {training.log}")
        return _Trained(None, training)
    answers = training.find_answers()
    return _Trained(None if answers is None else _read_figures(answers, values), training)


def _read_figures(answers: Path, values: Mapping[str, Any]) -> Figures:
    """Read accuracies from `train_…` and `validation_…` arrays of labels and probabilities. Raises Refused."""
    try:
        import numpy as np
    except ModuleNotFoundError:
        raise Refused("--prove reads answers on this machine, which needs NumPy: pip install numpy.") from None
    found = dict[str, tuple[Split, list[bool]]]()
    try:
        with np.load(answers, allow_pickle=False) as arrays:
            for split in ("train", "validation"):
                right = arrays[f"{split}_probabilities"].argmax(axis=1) == arrays[f"{split}_labels"]
                found[split] = Split(float(right.mean()), None, len(right)), right.tolist()
    except (KeyError, ValueError, OSError) as error:
        raise Refused(
            f"{answers} does not have what --prove needs ({error}); expected an .npz with train_labels, "
            "train_probabilities, validation_labels and validation_probabilities."
        ) from None
    epochs = int(values.get(EPOCHS, 1))
    return Figures(found["train"][0], found["validation"][0], pack_right(found["validation"][1]), epochs)


def _diagnose(service: Service, training: Training) -> "DiagnosisView":
    curves: ReadHistory | None = training.read_history()
    answers = training.find_answers()
    assert answers is not None
    return diagnose_predictions(service, answers, curves, None)


def _make_subject(
    found: "DiagnosisView", figures: Figures, parameters: Mapping[str, Any], experiments: Mapping[str, Experiment]
) -> Subject:
    """What experiments can know of a script: what its placeholders say, and its figures."""
    assert figures.validation is not None
    spec = {
        "training": {
            "epochs": int(parameters.get(EPOCHS, 1)),
            "batch_size": 1,
            "optimizer": {"learning_rate": float(parameters.get(RATE, 1.0))},
        },
        "evaluation": {"train": "final", "test": "never"},
        "network": {},
    }
    counts = {"train": figures.train.count, "validation": figures.validation.count}
    decidable = {code for experiment in experiments.values() for code in experiment.settles}
    codes = [cause.code for cause in found.causes if cause.code in decidable]
    probabilities = spread_probabilities(found.verdict, found.confidence, codes, experiments)
    tiers = {cause.code: cause.tier for cause in found.causes}
    return Subject(spec, counts, figures, found.verdict, probabilities, tiers=tiers)


def _fill(subject: Subject, variant: Variant, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the script's placeholders for an experiment."""
    training = merge(dict(subject.spec), dict(variant.patch))["training"]
    values = {**parameters, SEED: variant.seed}
    if EPOCHS in parameters:
        values[EPOCHS] = training["epochs"]
    if RATE in parameters:
        values[RATE] = training["optimizer"]["learning_rate"]
    if FRACTION in parameters and "train_limit" in training:
        values[FRACTION] = parameters[FRACTION] * training["train_limit"] / subject.train_images
    return values
