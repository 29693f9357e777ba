"""Finds the uploaded model that precedes the blocks of a job's network, or the copy that an earlier job has of it."""

from dataclasses import dataclass, replace

from heldout.errors import ModelNotFound, ModelUnavailable, SpecModelNotFound
from heldout.spec.backbone import POINTER, Backbone, make_backbone
from heldout.spec.job import BackboneSpec
from heldout.spec.model_facts import MapLayer, ModelFacts
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.database import Session
from models.store import artifacts, models
from models.store.artifacts import Artifact
from models.tables import JobRow
from models.tables_models import ModelRow


@dataclass(frozen=True)
class BackboneSource:
    """A backbone, its facts, and its file.

    layers: name, shape and parameters of each layer. Empty if only a copy is left.
    """

    backbone: Backbone
    file: Artifact
    layers: tuple[MapLayer, ...] = ()


def find_backbone(session: Session, owner: str, asked: BackboneSpec, ended: JobRow | None = None) -> BackboneSource:
    """Find the model that a spec names.

    Args:
        ended: the job that is run again. If it has the same backbone, its copy is used, because the model may have been
            deleted.
    Raises:
        SpecModelNotFound, ModelUnavailable, InvalidSpec.
    """
    copied = _find_copy(session, asked, ended)
    if copied is not None:
        return copied
    row, facts = get_usable_model(session, owner, asked.model, f"{POINTER}/model")
    layers = () if facts.feature_map is None else facts.feature_map.layers
    file = Artifact(ArtifactName.BACKBONE, ArtifactFormat.KERAS, row.key, row.size_bytes, row.sha256)
    return BackboneSource(make_backbone(asked, facts), file, layers)


def _find_copy(session: Session, asked: BackboneSpec, ended: JobRow | None) -> BackboneSource | None:
    if ended is None or ended.backbone is None:
        return None
    known = Backbone.from_json(ended.backbone)
    file = artifacts.find(session, ended.id, ArtifactName.BACKBONE, ArtifactFormat.KERAS)
    if file is None or known.model != asked.model:
        return None
    # Unless the spec sets the pixels' range, the range detected then still applies.
    return BackboneSource(replace(known, pixels=asked.pixels or known.pixels), file)


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
