"""Finds the uploaded model that a job's network needs, or the copy that an earlier job has of it."""

from dataclasses import dataclass, replace

from heldout.errors import ModelNotFound, ModelUnavailable, SpecModelNotFound
from heldout.spec.backbone import OWN_POINTER, POINTER, Backbone, make_backbone, make_own_network
from heldout.spec.job import AnyNetworkSpec, OwnNetworkSpec
from heldout.spec.model_facts import MapLayer, ModelFacts, NetworkFacts
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.database import Session
from models.specs import read_training_spec
from models.store import artifacts, models
from models.store.artifacts import Artifact
from models.store.datasets import ReadyDataset
from models.tables import JobRow, ModelRow


@dataclass(frozen=True)
class BackboneSource:
    """An uploaded network, its facts, and its file.

    layers: name, shape and parameters of each layer. Empty if only a copy is left.
    """

    backbone: Backbone
    file: Artifact
    layers: tuple[MapLayer, ...] = ()


def find_backbone(
    session: Session, owner: str, network: AnyNetworkSpec, dataset: ReadyDataset, ended: JobRow | None = None
) -> BackboneSource | None:
    """Find the model that a network needs; None if it needs none.

    Args:
        dataset: the dataset that the network is trained on.
        ended: the job that is run again. If it has the same model, its copy is used, because the model may have been
            deleted.
    Raises:
        SpecModelNotFound, ModelUnavailable, InvalidSpec.
    """
    if network.uploaded_model is None:
        return None
    copied = _find_copy(session, network, dataset, ended)
    if copied is not None:
        return copied
    pointer = OWN_POINTER if isinstance(network, OwnNetworkSpec) else POINTER
    row, facts = get_usable_model(session, owner, network.uploaded_model, f"{pointer}/model")
    file = Artifact(ArtifactName.BACKBONE, ArtifactFormat.KERAS, row.key, row.size_bytes, row.sha256)
    if isinstance(network, OwnNetworkSpec):
        made, own_layers = make_own_network(network, facts, dataset.image, len(dataset.classes))
        return BackboneSource(made, file, own_layers)
    assert network.backbone is not None
    layers = () if facts.feature_map is None else facts.feature_map.layers
    return BackboneSource(make_backbone(network.backbone, facts), file, layers)


def find_network_facts(session: Session, owner: str, model_id: str | None) -> NetworkFacts | None:
    """Find what is known about the uploaded model that a job trains. None for other networks, and if it was deleted."""
    try:
        return None if model_id is None else get_usable_model(session, owner, model_id)[1].network
    except (SpecModelNotFound, ModelUnavailable):
        return None


def _find_copy(
    session: Session, network: AnyNetworkSpec, dataset: ReadyDataset, ended: JobRow | None
) -> BackboneSource | None:
    if ended is None or ended.backbone is None:
        return None
    known = Backbone.from_json(ended.backbone)
    file = artifacts.find(session, ended.id, ArtifactName.BACKBONE, ArtifactFormat.KERAS)
    if file is None or known.model != network.uploaded_model:
        return None
    if isinstance(network, OwnNetworkSpec):
        # Its counts hold for the same request on the same images only. Neither dropout nor a penalty changes them.
        uncounted = {"dropout": network.dropout, "l2": network.l2}
        had = read_training_spec(ended).network.model_copy(update=uncounted)
        is_same = ended.dataset_id == dataset.row.id and had == network
        return BackboneSource(known, file) if is_same else None
    # Unless the spec sets the pixels' range, the range detected then still applies.
    asked = network.backbone
    return BackboneSource(replace(known, pixels=(asked and asked.pixels) or known.pixels), file)


def get_usable_model(
    session: Session, owner: str, model_id: str, pointer: str = "/model"
) -> tuple[ModelRow, ModelFacts]:
    """Find the owner's model and the facts from its file.

    Args:
        pointer: the place in the request that names the model.
    Raises:
        SpecModelNotFound, ModelUnavailable.
    """
    try:
        row = models.find(session, owner, model_id)
    except ModelNotFound:
        raise SpecModelNotFound(model_id, pointer) from None
    facts = models.get_facts(row)
    if facts is None:
        raise ModelUnavailable(model_id, row.status.value, pointer)
    return row, facts
