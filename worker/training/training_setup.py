"""What a job trains with: data, network, and graphs. A next job that differs only in its seed can use them again."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import keras
import numpy as np

from analysis.answers.groups import read_groups
from analysis.arrays.dataset import load
from analysis.arrays.relations import load_relations
from heldout.lifecycle.job import FailureCode
from heldout.spec.job import JobSpec
from heldout.spec.network import OwnNetworkSpec
from worker.machine.devices import get_policy
from worker.messages import Assignment, Failed, Started, StopCause, Stopped
from worker.training.choices import (
    choose_precision,
    choose_threads,
    choose_towers,
    collect_bit_facts,
    collect_engine_facts,
    configure,
)
from worker.training.data.replicas import Replicas
from worker.training.data.training_data import TrainingData, compute_own_digests, make_source, select
from worker.training.engine.engine import Engine
from worker.training.engine.training_policy import StopRequested
from worker.training.exports.exported_model import PreparedExport
from worker.training.features.feature_cache import KeptBase, NotCached
from worker.training.features.inputs import FeatureMaker, Input, Inputs
from worker.training.measuring.evaluate import make_evaluator
from worker.training.model_files.keras_file import load_model
from worker.training.model_files.refusal import ModelRefused
from worker.training.networks.backbone import UploadedBackbone
from worker.training.networks.network import (
    NetworkBuilder,
    choose_trained,
    freeze_blocks,
)
from worker.training.second_phase import SecondPhase
from worker.training.trainer import Trainer

# While the next job begins, the weights of its network are there twice.
MAX_SHARED_WEIGHTS = 1_000_000


@dataclass(frozen=True)
class Prepared:
    """What a job trains with.

    assignment: of the job that it was made for.
    make_trainer: takes what is of one job only.
    make_engine: returns an engine whose network has the initial weights of a spec's seed.
    """

    assignment: Assignment
    data: TrainingData
    engine: Engine
    exported: PreparedExport
    started: Started
    make_trainer: Callable[..., Trainer]
    make_engine: Callable[[JobSpec], Engine]

    @property
    def is_reusable(self) -> bool:
        """Return whether a job with another seed may use it: whether the engine's state holds all that seeds decide.

        Generators of the whole process would continue where this job left them, and own networks may have any layer.
        """
        given, spec = self.assignment, self.assignment.spec
        views = None if spec.augmentation is None else spec.augmentation.views
        return (
            given.for_study
            and given.machine.device == "cpu"
            and given.start.initial is None
            and not isinstance(spec.network, OwnNetworkSpec)
            and not self.engine.shared_draws
            and (spec.network.unfreezing, spec.folds, views) == (None, None, None)
            and self.engine.network.count_params() <= MAX_SHARED_WEIGHTS
        )

    def begin_again(self, assignment: Assignment) -> Self:
        """Begin another job that differs only in its seed, as if nothing had been trained yet."""
        self.engine.begin_again(self.make_engine(assignment.spec))
        return self


class CannotTrain(Exception):
    """A job ends before its first step. last: its last message."""

    def __init__(self, last: Failed | Stopped) -> None:
        self.last = last


def prepare(assignment: Assignment, requested_stop: Callable[[], StopCause | None], in_use: ExitStack) -> Prepared:
    """Build what a job trains with.

    Args:
        requested_stop: returns the reason of a requested stop, else None.
        in_use: keeps files of features while they are read.

    Raises:
        CannotTrain, GpuUnavailable, ModelRefused.
    """
    spec, machine, dataset = assignment.spec, assignment.machine, assignment.dataset
    relations = load_relations(dataset.relations) if dataset.relations else None
    data = select(load(dataset.folder), spec, machine.resident_bytes, relations)
    data = replace(data, groups=read_groups(dataset.columns, spec.group_column))
    uploaded = assignment.start.backbone
    known = None if uploaded is None else uploaded.known
    towers = choose_towers(machine.towers, machine.cores, spec, data.image, len(data.classes), known)
    machine = replace(machine, threads=choose_threads(spec, machine, towers))
    # The features of a frozen part are computed on all cores.
    devices = configure(machine, max(towers, machine.cores if spec.network.has_frozen_part else 1))
    precision = choose_precision(machine.precision, spec, data.image, len(data.classes), towers, known)
    policy = get_policy(precision, machine.device)
    if spec.network.unfreezing is not None and policy == "mixed_float16":
        precision, policy = "float32", "float32"  # each phase would scale its own loss
    backbone = None if uploaded is None else UploadedBackbone.read(uploaded)
    replicas = Replicas(devices)

    builder = NetworkBuilder(spec, data.image, len(data.classes), backbone, replicas)
    with replicas.scope():
        whole, split = builder.divide(policy)
        network = choose_trained(whole, split)
        if whole is not None:
            freeze_blocks(whole, spec.initial.freeze_blocks if spec.initial else 0)
    if assignment.start.initial is not None and whole is not None:
        try:
            start_from(whole, assignment.start.initial, assignment.start.initial_layers)
        except ModelRefused as refused:
            raise CannotTrain(Failed(FailureCode.INITIAL_UNAVAILABLE, refused.detail)) from refused
    images = make_source(data, devices)
    data = replace(data, images=np.asarray(data.images[:0]).copy())  # TensorFlow has them, or reads the file
    facts = collect_engine_facts(machine, towers, precision)
    inputs = Inputs(Input(data, images), Input(data, images))
    if spec.network.has_frozen_part:
        inputs = replace(inputs, features="computed in each step: no single tensor leaves the frozen part")
    if split is not None:
        maker = FeatureMaker(
            assignment,
            split,
            data,
            images,
            devices=devices,
            facts=collect_bit_facts(facts),
            watch=lambda: _stop_waiting(requested_stop()),
            in_use=in_use,
        )
        try:
            inputs = maker.make_inputs()
        except StopRequested as stop:
            raise CannotTrain(Stopped(None)) from stop

    train, measured = inputs.train, inputs.measured

    def make_engine(network: keras.Model, spec: JobSpec) -> Engine:
        frozen, copies = train.frozen, train.copies
        return Engine(network, train.data, train.source, spec, towers, replicas, frozen=frozen, copies=copies)

    engine = make_engine(network, spec)
    base = None
    if whole is None and inputs.folder is not None and assignment.features is not None and backbone is not None:
        base = KeptBase(inputs.folder, assignment.features.cap_bytes, backbone.config)
    beside = ThreadPoolExecutor(1, thread_name_prefix="beside")
    evaluator = make_evaluator(spec, network, measured.source, engine.weights, policy, builder.build_trained)
    exported = PreparedExport(
        spec.network,
        data,
        images,
        beside,
        dataset_sha256=assignment.dataset.sha256,
        # On several GPUs, the variables of the trained network are mirrored.
        backbone=replace(backbone) if backbone is not None and len(devices) > 1 else backbone,
        features=None if inputs.folder is None else measured,
        base=base,
    )

    def prepare_beside() -> None:
        evaluator.prepare_in(beside)
        exported.begin()

    shown_facts = facts if inputs.features is None else facts | {"features": inputs.features}
    make_trainer = partial(
        Trainer,
        data=measured.data,
        engine=engine,
        evaluator=evaluator,
        facts=collect_bit_facts(facts),
        after_tracing=prepare_beside,
        second_phase=SecondPhase(spec, whole, data, images, towers, replicas, policy, builder.build, beside),
    )
    return Prepared(
        assignment,
        data,
        engine,
        exported,
        Started(shown_facts, compute_own_digests(dataset.folder, spec, data)),
        make_trainer,
        make_engine=lambda spec: make_engine(builder.build_trained(policy, spec.training.seed), spec),
    )


def _stop_waiting(why: StopCause | None) -> None:
    """Stop computing features. Past its deadline a job can still succeed with the epochs that it has."""
    if why is StopCause.DEADLINE:
        raise NotCached("the job's time is over")
    if why is not None:
        raise StopRequested(why)


def start_from(network: keras.Model, model: Path, layers: Sequence[str]) -> None:
    """Copy the weights of some layers, by name, from a model file of a training.

    Args:
        model: `.keras`; or `.npz` with the weights of an uploaded model, `<layer>/<weight>`, both counted from 0.

    Raises:
        ModelRefused: the file was not written by a training.
        ValueError: a layer is missing, or its weights have other shapes.
    """
    if model.suffix == ".npz":
        _start_by_position(network, model, layers)
        return
    known = load_model(model)
    for name in layers:
        network.get_layer(name).set_weights(known.get_layer(name).get_weights())


def _start_by_position(network: keras.Model, weights: Path, layers: Sequence[str]) -> None:
    with np.load(weights, allow_pickle=False) as arrays:
        for number, layer in enumerate(built_layer for built_layer in network.layers if built_layer.weights):
            if layer.name in layers:
                layer.set_weights([arrays[f"{number}/{place}"] for place in range(len(layer.weights))])
