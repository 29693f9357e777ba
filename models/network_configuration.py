"""Finds the configuration of an uploaded model with the changes that a job trained it with."""

from heldout.errors import ModelLost, NotSupported
from heldout.spec.job import OwnNetworkSpec
from heldout.stored.results import NETWORK_FILE
from models.blob_files import guard_reading, open_zipped
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.specs import read_training_spec
from models.store import artifacts
from models.tables import JobRow


def read_network_configuration(session: Session, blobs: Blobs, job: JobRow) -> bytes:
    """Read the JSON that `keras.models.model_from_json` takes from the `.keras` file of a job with a model.

    Raises:
        NotSupported: if the job's network is not an uploaded model.
        SpecUnreadable, ModelLost, ArtifactDamaged, StorageUnavailable.
    """
    if not isinstance(read_training_spec(job).network, OwnNetworkSpec):
        raise NotSupported(
            "/network",
            "Only a network that is an uploaded model has a Keras configuration of its own. The network of this job is "
            "described by its spec. With `keras`, its layers are in the file.",
        )
    model = artifacts.find_model(session, job)
    assert model is not None, "the caller has found a model"
    try:
        with open_zipped(blobs, model.key) as archive, guard_reading(model.key):
            return archive.read(NETWORK_FILE)
    except BlobMissing as error:
        raise ModelLost(job.id) from error
