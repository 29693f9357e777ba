"""Lists the files that rows name, and the folders that belong to something that still exists."""

from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from analysis.arrays.columns import make_columns_key
from analysis.arrays.dataset import FILES
from analysis.arrays.file_names import make_members_key
from analysis.arrays.relations import make_relations_key
from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import DatasetStatus, ModelStatus, RelationsStatus, SearchStatus
from heldout.stored.audit import audit_key, make_suspects_key, preview_key
from heldout.stored.looks import make_features_key, make_looks_key
from models.digests import FileDigest, describe
from models.store import file_digests
from models.tables import ArtifactRow, CheckpointRow, DatasetRow, ExportRow, JobRow, ModelRow, StudyRow


@dataclass(frozen=True)
class NamedBlob:
    """A file that a row names, with its digest, if one is stored."""

    key: str
    what: str  # for people: `the model of job_…`
    digest: FileDigest | None = None


@dataclass(frozen=True)
class StoredContent:
    """The content of a ready dataset: the four files of `analysis/arrays/dataset.py` in `datasets/<sha256>`."""

    sha256: str
    name: str  # such as `pets@3`; one of the datasets with this content
    bundled: str | None  # the name of the bundled dataset with this content

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(f"datasets/{self.sha256}/{file}" for file in FILES)


@dataclass(frozen=True)
class KnownFolders:
    """Folders whose files belong to something, even if no row names the files themselves."""

    open_jobs: frozenset[str]  # jobs that may store files just before adding the rows
    studies: frozenset[str]
    datasets: frozenset[str]  # ids of undeleted datasets
    contents: frozenset[str]  # addresses in rows of any status
    uploading: frozenset[str]  # ids of datasets whose upload is expected or still needed


def iterate_named(session: Session) -> Iterator[NamedBlob]:
    """Yield every file that a row names, except the contents of datasets."""
    for artifact in session.scalars(select(ArtifactRow)):
        yield NamedBlob(artifact.key, f"the {artifact.name.value} of {artifact.job_id}", artifact.digest)
    for export in session.scalars(select(ExportRow)):
        if export.key is not None:
            described = f"the model of {export.job_id} as {export.format.value}"
            yield NamedBlob(export.key, described, export.digest)
    for key, job_id in session.execute(select(CheckpointRow.key, CheckpointRow.job_id)):
        yield NamedBlob(key, f"a state of {job_id}")
    for study_id, plan in session.execute(select(StudyRow.id, StudyRow.plan)):
        for arm in plan.get("arms", ()):
            if file := arm.get("file"):
                digest = FileDigest(file["size_bytes"], file["sha256"]) if file["sha256"] else None
                yield NamedBlob(file["key"], f"what {study_id} starts from", digest)
    is_stored = (ModelRow.status != ModelStatus.REJECTED, ModelRow.sha256 != "")  # or a worker is still fetching it
    for model in session.scalars(select(ModelRow).where(*is_stored)):
        digest = FileDigest(model.size_bytes, model.sha256)
        yield NamedBlob(model.key, f"the model {model.name} ({model.id})", digest)
        if model.onnx is not None:
            digest = FileDigest(model.onnx["size_bytes"], model.onnx["sha256"])
            yield NamedBlob(model.onnx["key"], f"the model {model.name} ({model.id}) as ONNX", digest)
    digests = file_digests.get_digests_of_datasets(session)
    for row in session.scalars(select(DatasetRow).where(DatasetRow.deleted_at.is_(None))):
        for key, what in _iterate_of_dataset(row, digests):
            yield NamedBlob(key, what, digests.get(key))


def list_keys(session: Session) -> set[str]:
    """List the keys of all files that rows name, including the contents of datasets."""
    return {blob.key for blob in iterate_named(session)} | {
        key for content in list_contents(session) for key in content.keys
    }


def list_unnamed_of_job(session: Session, job_id: str, keys: Collection[str]) -> list[str]:
    """List the keys that none of the job's rows names."""
    columns = (ArtifactRow.key, ArtifactRow.job_id), (CheckpointRow.key, CheckpointRow.job_id)
    named = {key for key_of, job_of in columns for key in session.scalars(select(key_of).where(job_of == job_id))}
    return [key for key in keys if key not in named]


def _iterate_of_dataset(row: DatasetRow, digests: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield the keys of the dataset's own files, with descriptions."""
    keys = []
    if row.upload_key is not None and row.status is DatasetStatus.CHECKING:
        keys.append(row.upload_key)
    if row.status is DatasetStatus.READY and row.same_as is None:
        if row.owner is not None:
            keys += [audit_key(row.id), *(preview_key(row.id, number) for number in range(len(row.classes or ())))]
        # Nothing else records whether these files exist.
        keys += [key for key in (make_members_key(row.id), make_columns_key(row.id)) if key in digests]
        if row.relations_status is RelationsStatus.STORED:
            keys.append(make_relations_key(row.id))
        if row.suspects_status is SearchStatus.STORED:
            keys.append(make_suspects_key(row.id))
        if row.features_status is SearchStatus.STORED:
            keys += [make_features_key(row.id), make_looks_key(row.id)]
    for key in keys:
        yield key, describe(key).replace(row.id, f"{row.name}@{row.version}")


def list_contents(session: Session) -> list[StoredContent]:
    """List the contents of ready datasets, each address once."""
    rows = session.execute(
        select(DatasetRow.sha256, DatasetRow.name, DatasetRow.version, DatasetRow.owner)
        .where(
            DatasetRow.status == DatasetStatus.READY, DatasetRow.deleted_at.is_(None), DatasetRow.sha256.is_not(None)
        )
        .order_by(DatasetRow.owner.is_not(None), DatasetRow.id.desc())
    )
    found: dict[str, StoredContent] = {}
    for sha256, name, version, owner in rows:
        if sha256 is not None:
            found.setdefault(sha256, StoredContent(sha256, f"{name}@{version}", name if owner is None else None))
    return list(found.values())


def get_places(session: Session) -> KnownFolders:
    """Get the folders of everything that exists."""
    here = DatasetRow.deleted_at.is_(None)
    needs_upload = (DatasetRow.status.in_([DatasetStatus.UPLOADING, DatasetStatus.CHECKING]), here)
    return KnownFolders(
        open_jobs=frozenset(session.scalars(select(JobRow.id).where(JobRow.status.not_in(TERMINAL)))),
        studies=frozenset(session.scalars(select(StudyRow.id))),
        datasets=frozenset(session.scalars(select(DatasetRow.id).where(here))),
        contents=frozenset(sha256 for sha256 in session.scalars(select(DatasetRow.sha256)) if sha256 is not None),
        uploading=frozenset(session.scalars(select(DatasetRow.id).where(*needs_upload))),
    )
