"""What looks wrong in the network of a spec before it is trained."""

from heldout.network_check.described import check_job
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan
from heldout.spec.network import OwnNetworkSpec
from heldout.views.base import make_view
from heldout.views.note import NoteView
from models.database import Session
from models.initial_weights import find_network_facts
from models.specs import count_splits
from models.store.datasets import ReadyDataset


def list_notes(
    session: Session, owner: str, spec: JobSpec, ready: ReadyDataset, plan: NetworkPlan
) -> list[NoteView] | None:
    """List the notes about a spec's network on a dataset; None if its layers are not known."""
    own = spec.network.model if isinstance(spec.network, OwnNetworkSpec) else None
    counts = count_splits(ready.row, spec) or {}
    image = plan.image if plan.backbone is None else plan.backbone.takes
    facts = find_network_facts(session, owner, own)
    notes = check_job(spec, facts, image, len(ready.classes), counts.get("train"))
    return None if notes is None else [make_view(NoteView, note) for note in notes]
