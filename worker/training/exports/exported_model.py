"""The model for raw pixels that a finished training produces."""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

import keras
import numpy as np

from heldout.spec.network import AnyNetworkSpec, NetworkSpec, OwnNetworkSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.results import NETWORK_FILE, ModelAbout
from worker.messages import Assignment, TrainedFile
from worker.training.data.training_data import BatchSource, TrainingData
from worker.training.engine.training_policy import TrainedWeights, Weights
from worker.training.exports.exported_head import HeadPredictor
from worker.training.features.feature_cache import KeptBase
from worker.training.features.inputs import Input
from worker.training.measuring.predictor import FeatureRows, Predictor
from worker.training.networks.backbone import UploadedBackbone
from worker.training.networks.network import apply_head, apply_layers, drop_penalties
from worker.training.networks.own_network import describe_own_network


def build_exported(
    network: AnyNetworkSpec,
    data: TrainingData,
    trained: keras.Model | None = None,
    backbone: UploadedBackbone | None = None,
) -> keras.Model:
    """Build the model that users download, with the weights of `trained`, or any weights if these are not known yet.

    Args:
        backbone: the uploaded model that the network needs.
    Returns:
        A functional model of Keras' own layers from raw pixels, (batch, height, width, channels) in the dataset's
        range, to (batch, classes) probabilities. It has no penalties, so that its `evaluate` gives the cross-entropy.
    """
    pixels, scaled = _begin(data)
    seeds = iter(lambda: 0, None)
    logits = apply_layers(scaled, drop_penalties(network), len(data.classes), seeds, backbone=backbone)
    model = _end(pixels, logits)
    if trained is not None:
        model.set_weights(trained.get_weights())
    return model


def build_exported_base(network: NetworkSpec, data: TrainingData, backbone: UploadedBackbone) -> keras.Model:
    """Build the first part of the model that users download, from raw pixels to what the backbone gives."""
    assert network.backbone is not None
    pixels, scaled = _begin(data)
    return keras.Model(pixels, backbone.make_maps(scaled, network.backbone, iter(lambda: 0, None)), name="classifier")


def build_exported_head(network: NetworkSpec, classes: int, backbone: UploadedBackbone) -> keras.Model:
    """Build the rest of that model."""
    features, plain = keras.Input(backbone.gives, name="features"), drop_penalties(network)
    assert isinstance(plain, NetworkSpec)
    return _end(features, apply_head(features, plain, classes, iter(lambda: 0, None)))


def _begin(data: TrainingData) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return raw pixels, and the same scaled to [0, 1]."""
    low, high = data.value_range
    pixels = keras.Input(data.image, name="pixels")
    return pixels, keras.layers.Rescaling(1 / (high - low), -low / (high - low), name="rescaling")(pixels)


def _end(inputs: keras.KerasTensor, logits: keras.KerasTensor) -> keras.Model:
    model = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(logits), name="classifier")
    compile_to_evaluate(model)
    return model


def compile_to_evaluate(model: keras.Model) -> None:
    """Makes `evaluate` work right away; plain SGD has no state that the file would have to store."""
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])


def add_members(file: Path, members: Mapping[str, bytes]) -> None:
    """Add members by name to a `.keras` file: Keras reads those that it knows, and ignores others."""
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def describe_model(
    model: keras.Model | Predictor,
    job_id: str,
    dataset_sha256: str,
    classes: Sequence[str],
    value_range: tuple[float, float],
) -> ModelAbout:
    """Metadata in the files with an exported model, or with its predictions."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight, "<f4").data)
    return ModelAbout(
        job_id=job_id,
        dataset_sha256=dataset_sha256,
        weights_sha256=digest.hexdigest(),
        classes=tuple(classes),
        shape=model.input_shape[1:],
        range=value_range,
    )


class PreparedExport:
    """The exported model of a job and its predictor, which a thread can build while the network is still training.

    Args:
        dataset_sha256: for the metadata of its files.
        backbone: the uploaded model that the network is built with.
        features: what the frozen part gives of the job's images, if it is kept; the trained weights are those of the
        head then.
        base: the file of everything before the head, if the backbone stays fixed and its features are kept.
    """

    def __init__(
        self,
        network: AnyNetworkSpec,
        data: TrainingData,
        source: BatchSource,
        thread: Executor,
        *,
        dataset_sha256: str = "",
        backbone: UploadedBackbone | None = None,
        features: Input | None = None,
        base: KeptBase | None = None,
    ) -> None:
        self._features = features
        self._base = base
        self._backbone = backbone
        self._dataset_sha256 = dataset_sha256
        self._network = network
        self._data = data
        self._source = source
        self._thread = thread
        self._made: Future[Predictor] | None = None

    def begin(self) -> None:
        """Build them in the thread, if they are not built yet. The graphs of the training must be traced before."""
        self._made = self._made or self._thread.submit(self._make)

    def save(self, predictor: Predictor, file: Path, job_id: str) -> Future[ModelAbout]:
        """Write the model of a job to a file in the thread, and return its metadata.

        Until it is written, the predictor must keep its weights.
        """
        return self._thread.submit(self._save, predictor, file, job_id)

    def _save(self, predictor: Predictor, file: Path, job_id: str) -> ModelAbout:
        data = self._data
        about = describe_model(predictor, job_id, self._dataset_sha256, data.classes, data.value_range)
        members = {about.file_name: about.to_bytes()}
        if isinstance(self._network, OwnNetworkSpec):
            assert self._backbone is not None, "the caller reads the uploaded model"
            layers = describe_own_network(self._network, self._backbone, len(self._data.classes))
            members[NETWORK_FILE] = layers.encode()
        predictor.write(file)
        add_members(file, members)
        return about

    def make_predictor(self, weights: Weights) -> Predictor:
        """Return the predictor of a model with these weights; errors of the thread are raised here."""
        predictor = self._make() if self._made is None else self._made.result()
        predictor.use(weights)
        return predictor

    def _make(self) -> Predictor:
        predictor = self._make_whole() if self._base is None else self._make_head(self._base)
        predictor.prepare()
        return predictor

    def _make_whole(self) -> Predictor:
        exported = build_exported(self._network, self._data, backbone=self._backbone)
        return Predictor(exported, self._source, self._data.value_range, self._match_features())

    def _make_head(self, base: KeptBase) -> Predictor:
        network, backbone, known = self._network, self._backbone, self._match_features()
        assert not isinstance(network, OwnNetworkSpec)
        assert backbone is not None
        assert known is not None
        return HeadPredictor(
            build_exported_head(network, len(self._data.classes), backbone),
            self._source,
            known,
            make_whole=self._make_whole,
            fixed=backbone.weights,
            image=self._data.image,
            open_base=partial(base.open, lambda file: build_exported_base(network, self._data, backbone).save(file)),
        )

    def _match_features(self) -> FeatureRows | None:
        if self._features is None:
            return None
        of_image = np.zeros(1 + max(int(np.max(rows, initial=0)) for rows in self._data.rows.values()), np.int32)
        for split, rows in self._data.rows.items():
            of_image[rows] = self._features.data.rows[split]
        return FeatureRows(self._features.source, of_image)


MODEL_FILE = "model.keras"


def export_kept(weights: TrainedWeights, exported: PreparedExport, assignment: Assignment) -> TrainedFile:
    """Save the kept weights as the model that users download."""
    predictor, file = exported.make_predictor(weights.of_epoch[weights.kept]), assignment.scratch / MODEL_FILE
    exported.save(predictor, file, assignment.job_id).result()
    return describe_model_file(assignment.scratch)


def describe_model_file(scratch: Path) -> TrainedFile:
    return TrainedFile(ArtifactName.MODEL, ArtifactFormat.KERAS, scratch / MODEL_FILE)
