"""The process that trains one job: from its assignment to its last message."""

import signal
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from analysis.arrays.dataset import load
from analysis.arrays.relations import load_relations
from heldout.lifecycle.job import FailureCode, StopReason
from worker.machine.devices import Policy, get_policy
from worker.messages import Assignment, Failed, FromTraining, Started, StopCause, Stopped, Warned
from worker.training.backbone import UploadedBackbone
from worker.training.batch_sources import make_source
from worker.training.choices import (
    GpuUnavailable,
    choose_precision,
    choose_threads,
    choose_towers,
    collect_bit_facts,
    collect_engine_facts,
    configure,
)
from worker.training.data import compute_own_digests, select
from worker.training.decisions import Diverged, StopRequested
from worker.training.engine import Engine
from worker.training.evaluate import make_evaluator
from worker.training.export import PreparedExport
from worker.training.feature_cache import KeptBase, NotCached
from worker.training.finish import export_kept, finish
from worker.training.frozen import FrozenSplit
from worker.training.inputs import FeatureMaker, Input, Inputs
from worker.training.keras_file import load_model
from worker.training.network import build_network, divide_built, divide_early, freeze_blocks
from worker.training.position import CheckpointDamaged, describe_fault
from worker.training.refusal import ModelRefused
from worker.training.replicas import Replicas
from worker.training.second_phase import SecondPhase
from worker.training.trainer import Trainer


class SupervisorGone(Exception):
    """The supervisor has closed the pipe: it has ended, or has given up on this process."""


class SupervisorPipe:
    """Messages to the supervisor, and its requests to stop."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._requested: StopCause | None = None

    def send(self, message: FromTraining) -> None:
        try:
            self._pipe.send(message)
        except (OSError, EOFError) as error:
            raise SupervisorGone from error

    def requested_stop(self) -> StopCause | None:
        """Return the latest reason of a requested stop, without waiting."""
        try:
            message = self._pipe.recv() if self._pipe.poll() else None
        except (OSError, EOFError) as error:
            raise SupervisorGone from error
        if isinstance(message, StopCause):
            self._requested = message
        return self._requested


def run(assignment: Assignment, pipe: Connection) -> None:
    """Train the assigned job in this process, which does nothing else and ends afterwards."""
    begin_process()
    supervisor = SupervisorPipe(pipe)
    with suppress(SupervisorGone):
        supervisor.send(_make_final_message(assignment, supervisor))


def _make_final_message(assignment: Assignment, supervisor: SupervisorPipe) -> FromTraining:
    """Train; success, stop or failure becomes the last message."""
    try:
        with ExitStack() as in_use:
            return _train(assignment, supervisor.send, supervisor.requested_stop, in_use)
    except SupervisorGone:
        raise
    except (GpuUnavailable, CheckpointDamaged) as error:
        return Failed(FailureCode(error.code), error.detail)
    except (MemoryError, tf.errors.ResourceExhaustedError):
        traceback.print_exc()
        where = "the GPU's" if assignment.machine.device == "gpu" else "this machine's"
        return Failed(
            FailureCode.OUT_OF_MEMORY,
            f"The training does not fit into {where} memory. Use a smaller batch_size or fewer filters.",
        )
    except ModelRefused as refused:
        return Failed(FailureCode.BACKBONE_UNAVAILABLE, refused.detail)
    except Exception as error:  # noqa: BLE001 - the supervisor must hear of it, whatever it is
        traceback.print_exc()
        return Failed.of_a_fault(error)


def _train(
    assignment: Assignment,
    send: Callable[[FromTraining], None],
    requested_stop: Callable[[], StopCause | None],
    in_use: ExitStack,
) -> FromTraining:
    spec, machine = assignment.spec, assignment.machine
    assert spec.training.seed is not None, "the API completes every spec"
    scratch, dataset = assignment.scratch, assignment.dataset
    relations = load_relations(dataset.relations) if dataset.relations else None
    data = select(load(dataset.folder), spec, machine.resident_bytes, relations)
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

    def build(policy: Policy) -> keras.Model:
        assert spec.training.seed is not None
        return build_network(spec.network, data.image, len(data.classes), spec.training.seed, policy, backbone=backbone)

    def divide(policy: Policy) -> tuple[keras.Model | None, FrozenSplit | None]:
        """Return the network, if it is built, and its parts, if it has a frozen one."""
        assert spec.training.seed is not None
        asked = spec.network, data.image, len(data.classes), spec.training.seed
        early = divide_early(*asked, backbone, replicas.scope)
        if early is not None:
            return None, early
        built = build(policy)
        return built, divide_built(built, spec.network, backbone) if spec.network.has_frozen_part else None

    with replicas.scope():
        whole, split = divide(policy)
        network = split.head if split is not None else whole
        if whole is not None:
            freeze_blocks(whole, spec.initial.freeze_blocks if spec.initial else 0)
    assert network is not None
    if assignment.start.initial is not None and whole is not None:
        try:
            start_from(whole, assignment.start.initial, assignment.start.initial_layers)
        except ModelRefused as refused:
            return Failed(FailureCode.INITIAL_UNAVAILABLE, refused.detail)
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
        except StopRequested:
            return Stopped(None)

    def build_again(policy: Policy) -> keras.Model:
        again, divided = divide(policy)
        made = again if divided is None else divided.head
        assert made is not None
        return made

    train, measured = inputs.train, inputs.measured
    engine = Engine(network, train.data, train.source, spec, towers, replicas, frozen=train.frozen, copies=train.copies)
    told = facts if inputs.features is None else facts | {"features": inputs.features}
    send(Started(told, compute_own_digests(dataset.folder, spec, data)))
    evaluator = make_evaluator(spec, network, measured.source, engine.weights, policy, build_again)
    base = None
    if whole is None and inputs.folder is not None and assignment.features is not None and backbone is not None:
        base = KeptBase(inputs.folder, assignment.features.cap_bytes, scratch, backbone.config)
    beside = ThreadPoolExecutor(1, thread_name_prefix="beside")
    exported = PreparedExport(
        spec.network,
        data,
        images,
        beside,
        job_id=assignment.job_id,
        dataset_sha256=assignment.dataset.sha256,
        # On several GPUs, the variables of the trained network are mirrored.
        backbone=replace(backbone) if backbone is not None and len(devices) > 1 else backbone,
        features=None if inputs.folder is None else measured,
        base=base,
    )

    def prepare_beside() -> None:
        evaluator.prepare_in(beside)
        exported.begin()

    trainer = Trainer(
        spec,
        measured.data,
        engine,
        evaluator,
        scratch=scratch,
        send=send,
        requested_stop=requested_stop,
        facts=collect_bit_facts(facts),
        after_tracing=prepare_beside,
        second_phase=SecondPhase(spec, whole, data, images, towers, replicas, policy, build, beside),
    )
    if assignment.start.checkpoint is not None:
        trainer.resume(assignment.start.checkpoint)
    reason: StopReason
    try:
        trainer.train()
        reason = StopReason.COMPLETED
        if trainer.ended_early:
            reason = StopReason.OVERFIT_GUARD if trainer.position.guard.stopped else StopReason.EARLY_STOPPED
    except StopRequested as stop:
        if stop.why is not StopCause.DEADLINE:
            stopped = _stop_training(trainer, send)
            if stop.why is StopCause.RELEASE or not trainer.position.kept:
                return stopped
            return replace(stopped, model=export_kept(trainer.get_trained_weights(), exported, scratch))
        reason = StopReason.DEADLINE
    except Diverged as error:
        return Failed(FailureCode.DIVERGED, str(error))
    return finish(
        trainer,
        reason,
        exported,
        data,
        scratch=scratch,
        relations=relations,
        names_file=dataset.names,
        send=send,
        for_study=assignment.for_study,
        is_cancelled=lambda: requested_stop() is StopCause.CANCEL,
    )


def _stop_training(trainer: Trainer, send: Callable[[FromTraining], None]) -> Stopped:
    """Write a checkpoint; if it fails, the next attempt starts from an older one."""
    if not trainer.started:
        return Stopped(None)
    try:
        file = trainer.write()
    except OSError as error:
        send(Warned(f"No checkpoint could be written at the stop ({describe_fault(error)})."))
        return Stopped(None)
    return Stopped(file, epoch=trainer.position.epoch - 1, step=trainer.position.step)


def _stop_waiting(why: StopCause | None) -> None:
    """Stop computing features. Past its deadline a job can still succeed with the epochs that it has."""
    if why is StopCause.DEADLINE:
        raise NotCached("the job's time is over")
    if why is not None:
        raise StopRequested(why)


def begin_process() -> None:
    """Set up a process that works for a supervisor: only the supervisor ends it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles the terminal's interrupt
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


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


def answer_once(work: Callable[[], FromTraining], pipe: Connection, *, too_large: str, side_by_side: int = 1) -> None:
    """Do the task in this process, which does nothing else and ends afterwards. To stop it, kill it.

    Args:
        too_large: the subject of the message when memory runs out, such as `The images do`.
        side_by_side: how many operations run in parallel. Each has one thread, so that its bits do not depend on the
        number of cores.
    """
    begin_process()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(side_by_side)
    tf.config.set_visible_devices([], "GPU")
    with suppress(SupervisorGone):
        SupervisorPipe(pipe).send(_make_outcome(work, too_large))


def _make_outcome(work: Callable[[], FromTraining], too_large: str) -> FromTraining:
    try:
        return work()
    except (MemoryError, tf.errors.ResourceExhaustedError):
        traceback.print_exc()
        return Failed(FailureCode.OUT_OF_MEMORY, f"{too_large} not fit into memory.")
    except ModelRefused as refused:
        return Failed(FailureCode.MODEL_UNAVAILABLE, refused.detail)
    except Exception as error:  # noqa: BLE001 - any error must reach the supervisor
        traceback.print_exc()
        return Failed.of_a_fault(error)
