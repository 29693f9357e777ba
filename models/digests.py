"""What stored files were when they were stored, and the error to raise when one is something else now. Pure."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from heldout.errors import ArtifactDamaged, DatasetDamaged
from heldout.stored.artifacts import ExportFormat

# A file of which only a part is read is checked in blocks. Larger files get larger blocks: their digests stay small.
MIN_BLOCK_BYTES, MAX_BLOCKS, BLOCK_DIGEST_BYTES = 1024**2, 4096, 16

# In words, the files of a dataset: those of its content first, then those that belong to one version of it.
DATASET_FILES = {
    "images.npy": "the images",
    "labels.npy": "the labels",
    "splits.npz": "the splits",
    "about.json": "the class names",
    "audit.json": "the audit",
    "members.txt": "the file names",
    "relations.npz": "the copies and groups",
    "suspects.json": "the suspected labels",
}


@dataclass(frozen=True)
class FileDigest:
    """What was stored.

    size_bytes: None where an earlier release did not note it. sha256: hexadecimal.
    blocks: `BLOCK_DIGEST_BYTES` for each block of `block_bytes`, for a file of which parts are read.
    """

    size_bytes: int | None
    sha256: str
    blocks: bytes | None = None

    @property
    def block_bytes(self) -> int:
        """The size of a block; that of the last one may be smaller."""
        return _choose_block_bytes(self.size_bytes or 0)

    def is_block(self, number: int, content: bytes) -> bool:
        """Whether this is the block of that number."""
        at = number * BLOCK_DIGEST_BYTES
        return self.blocks is not None and self.blocks[at : at + BLOCK_DIGEST_BYTES] == _compute_block_digest(content)


def compute_file_digest(file: Path) -> FileDigest:
    """Read a file that is about to be stored, or just was."""
    in_blocks = file.name == "images.npy"  # of which readers take parts
    size, whole, blocks = file.stat().st_size, hashlib.sha256(), []
    with file.open("rb") as opened:
        while block := opened.read(_choose_block_bytes(size)):
            whole.update(block)
            if in_blocks:
                blocks.append(_compute_block_digest(block))
    return FileDigest(size, whole.hexdigest(), b"".join(blocks) if in_blocks else None)


def make_damaged_error(key: str, found: str = "It cannot be read.") -> DatasetDamaged | ArtifactDamaged:
    """The error for a stored file that is not what was stored.

    Args:
        key: of the file in the blob store.
        found: what was received and what was expected.
    """
    room, place, _ = _split_key(key)
    of_dataset = room in {"datasets", "uploads"}
    return (DatasetDamaged if of_dataset else ArtifactDamaged).of(
        describe(key), found, _describe_remedy(room, place, key)
    )


def describe(key: str) -> str:
    """A file of the blob store in words: `the evaluation of job_…`."""
    room, place, name = _split_key(key)
    if room == "datasets":
        # The address of a content names no dataset, and several may have it.
        of = place if place.startswith("ds_") else "the dataset"
        return f"{DATASET_FILES.get(name, 'a preview')} of {of}"
    if room == "jobs":
        return _describe_job_file(place, name, is_export="/exports/" in key)
    if room == "studies":
        return f"what {place} starts from"
    return f"the {'upload of ' if room == 'uploads' else 'model '}{place}"


def _split_key(key: str) -> tuple[str, str, str]:
    """Room, place and name: `datasets/ds_…/preview/0.png` is in the room of datasets."""
    room, _, rest = key.partition("/")
    return room, rest.partition("/")[0], rest.rpartition("/")[2]


def _describe_job_file(job_id: str, name: str, *, is_export: bool) -> str:
    if is_export:
        return f"the model of {job_id} as {_export_format(name)}"
    stem = name.partition(".")[0]
    return f"{'a state' if stem.startswith('checkpoint') else f'the {stem}'} of {job_id}"


def _export_format(name: str) -> str:
    return next((format_.value for format_ in ExportFormat if name.endswith(format_.facts.suffix)), "another format")


def _describe_remedy(room: str, place: str, key: str) -> str:
    if key.endswith("/suspects.json"):
        return f"GET /v1/datasets/{place}/suspects?again=true searches for them once more."
    if room == "datasets":
        return (
            "Or upload the dataset again as a new version. `heldout check --deep` repairs one that comes with Heldout."
        )
    if "/exports/" in key:
        # Of a study's ensemble the key names the job that has measured it, which clients do not know.
        return f"Or order it again: POST …/model?format={_export_format(key)} writes it once more."
    if room == "jobs":
        return f"Its figures are kept. POST /v1/jobs/{place}/retry trains the job anew."
    return "Or upload it again."


def _choose_block_bytes(size: int) -> int:
    block = MIN_BLOCK_BYTES
    while block * MAX_BLOCKS < size:
        block *= 2
    return block


def _compute_block_digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:BLOCK_DIGEST_BYTES]
