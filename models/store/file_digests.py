"""Digests of files in the blob store. Datasets' files have their own table; other digests are in the files' rows."""

from collections.abc import Mapping

from sqlalchemy import delete, select, union_all
from sqlalchemy.orm import Session

from models.digests import FileDigest
from models.store.statements import upsert
from models.tables import ArtifactRow, DatasetRow, ExportRow, FileDigestRow, ModelRow


def find(session: Session, key: str) -> FileDigest | None:
    """Find the digest of a file. None if an earlier release stored it, or if the file has its own checksum."""
    room, place = f"{key}/".split("/")[:2]
    if room == "datasets":
        row = session.get(FileDigestRow, key)
        return None if row is None else FileDigest(row.size_bytes, row.sha256, row.blocks)
    if room == "uploads":
        query = select(DatasetRow.upload_sha256).where(DatasetRow.id == place, DatasetRow.upload_key == key)
        sha256 = session.scalar(query)
        return None if sha256 is None else FileDigest(None, sha256)
    artifact, export, model = (
        select(kind.size_bytes, kind.sha256).where(of_place == place, kind.key == key, kind.sha256.is_not(None))
        for kind, of_place in (
            (ArtifactRow, ArtifactRow.job_id),
            (ExportRow, ExportRow.job_id),
            (ModelRow, ModelRow.id),
        )
    )
    found = session.execute(union_all(artifact, export, model)).first()
    return None if found is None else FileDigest(found.size_bytes, found.sha256)


def note(session: Session, digests: Mapping[str, FileDigest]) -> None:
    """Write the digests of a dataset's files, in the transaction of the row that names them."""
    if not digests:
        return
    statement = upsert(session, FileDigestRow)
    columns = ("size_bytes", "sha256", "blocks")
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["key"], set_={name: statement.excluded[name] for name in columns}
        ),
        [{"key": key, **{name: getattr(digest, name) for name in columns}} for key, digest in digests.items()],
    )


def forget(session: Session, folder: str) -> None:
    """Delete the digests of a deleted folder's files."""
    session.execute(delete(FileDigestRow).where(FileDigestRow.key.startswith(f"{folder}/", autoescape=True)))


def get_digests_of_datasets(session: Session) -> dict[str, FileDigest]:
    """Get the digests of all datasets' files, without those of their blocks."""
    columns = (FileDigestRow.key, FileDigestRow.size_bytes, FileDigestRow.sha256)
    return {key: FileDigest(size, sha256) for key, size, sha256 in session.execute(select(*columns))}
