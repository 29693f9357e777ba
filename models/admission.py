"""Which trainings are refused because no worker could ever hold them."""

from sqlalchemy.orm import Session

from heldout.errors import NeedsMoreMemory
from heldout.layers import NetworkPlan
from heldout.memory import WorkerMemory, could_hold, fitting_batch_size
from heldout.spec import JobSpec
from models.memory import needed_without_images
from models.store import worker_memory
from models.tables import DatasetRow


def require_memory(session: Session, dataset: DatasetRow, spec: JobSpec, plan: NetworkPlan) -> WorkerMemory | None:
    """Refuse what no worker of the last day could ever hold; a job for GPUs is not judged by its worker's memory.

    Gives the largest worker; None where none is known of.

    Raises:
        NeedsMoreMemory: says with which batch size it would fit.
    """
    largest, needed = worker_memory.largest(session), needed_without_images(dataset, spec, plan)
    if largest is None or spec.resources.required_gpus or could_hold(largest.total_bytes, needed):
        return largest
    fitting = fitting_batch_size(spec, lambda other: needed_without_images(dataset, other, plan), largest.total_bytes)
    raise NeedsMoreMemory(needed, largest.total_bytes, fitting)
