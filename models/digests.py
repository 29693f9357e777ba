"""Digests of stored files, and the errors for files that no longer match. Pure."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from heldout.errors import ArtifactDamaged, DatasetDamaged
from heldout.stored.artifacts import ExportFormat

# Files that are read in part are checked in blocks. Larger files have larger blocks, to keep the digests small.
MIN_BLOCK_BYTES, MAX_BLOCKS, BLOCK_DIGEST_BYTES = 1024**2, 4096, 16

# Names for the files of a dataset: first those of its content, then those of one version.
DATASET_FILES = {
    "images.npy": "the images",
    "labels.npy": "the labels",
    "splits.npz": "the splits",
    "about.json": "the class names",
    "audit.json": "the audit",
    "members.txt": "the file names",
    "columns.json": "the columns",
    "relations.npz": "the copies and groups",
    "suspects.json": "the suspected labels",
    "features.npz": "the features",
    "looks.json": "what the features show",
}


@dataclass(frozen=True)
class FileDigest:
    """The digest of a stored file.

    size_bytes: None if an earlier release did not record it. sha256: hexadecimal.
    blocks: `BLOCK_DIGEST_BYTES` for each block of `block_bytes`, if parts of the file are read.
    """

    size_bytes: int | None
    sha256: str
    blocks: bytes | None = None

    @property
    def block_bytes(self) -> int:
        """The size of a block. The last block may be smaller."""
        return _choose_block_bytes(self.size_bytes or 0)

    def is_block(self, number: int, content: bytes) -> bool:
        """Return whether the content matches the digest of that block."""
        at = number * BLOCK_DIGEST_BYTES
        return self.blocks is not None and self.blocks[at : at + BLOCK_DIGEST_BYTES] == _compute_block_digest(content)


def compute_file_digest(file: Path) -> FileDigest:
    """Compute the digest of a file that is being stored."""
    in_blocks = file.name in {"images.npy", "features.npz"}  # the files that are read in part
    size, whole, blocks = file.stat().st_size, hashlib.sha256(), []
    with file.open("rb") as opened:
        while block := opened.read(_choose_block_bytes(size)):
            whole.update(block)
            if in_blocks:
                blocks.append(_compute_block_digest(block))
    return FileDigest(size, whole.hexdigest(), b"".join(blocks) if in_blocks else None)


def make_damaged_error(key: str, found: str = "It cannot be read.") -> DatasetDamaged | ArtifactDamaged:
    """Make the error for a stored file that no longer matches its digest.

    Args:
        key: the file's key in the blob store.
        found: says what was received and what was expected.
    """
    room, place, _ = _split_key(key)
    of_dataset = room in {"datasets", "uploads"}
    return (DatasetDamaged if of_dataset else ArtifactDamaged).of(
        describe(key), found, _describe_remedy(room, place, key)
    )


def describe(key: str) -> str:
    """Describe a file of the blob store, such as `the evaluation of job_…`."""
    room, place, name = _split_key(key)
    if room == "datasets":
        # A content address does not name a dataset; several may share it.
        of = place if place.startswith("ds_") else "the dataset"
        return f"{DATASET_FILES.get(name, 'a preview')} of {of}"
    if room == "jobs" and "/exports/" in key:
        return f"the model of {place} as {_get_export_format(name)}"
    if room == "jobs":
        stem = name.partition(".")[0]
        return f"{'a state' if stem.startswith('checkpoint') else f'the {stem}'} of {place}"
    if room == "studies":
        return f"what {place} starts from"
    return f"the {'upload of ' if room == 'uploads' else 'model '}{place}"


def _split_key(key: str) -> tuple[str, str, str]:
    """Split a key into room, place and name, such as `datasets`, `ds_…` and `0.png`."""
    room, _, rest = key.partition("/")
    return room, rest.partition("/")[0], rest.rpartition("/")[2]


def _get_export_format(name: str) -> str:
    return next((format_.value for format_ in ExportFormat if name.endswith(format_.facts.suffix)), "another format")


def _describe_remedy(room: str, place: str, key: str) -> str:
    if key.endswith("/suspects.json"):
        return f"GET /v1/datasets/{place}/suspects?again=true searches for them again."
    if key.endswith(("/features.npz", "/looks.json")):
        return f"GET /v1/datasets/{place}/map?again=true computes them again."
    if room == "datasets":
        return "Or upload the dataset again as a new version. `heldout check --deep` repairs bundled datasets."
    if "/exports/" in key:
        # No full route: for a study's ensemble, the key names an internal job that clients do not know.
        return f"Or export it again: POST …/model?format={_get_export_format(key)}."
    if key.endswith("/heatmap.npz"):
        return "The next request for it computes it again."
    if room == "jobs":
        return f"Its figures are kept. POST /v1/jobs/{place}/retry trains the job again."
    return "Or upload it again."


def _choose_block_bytes(size: int) -> int:
    block = MIN_BLOCK_BYTES
    while block * MAX_BLOCKS < size:
        block *= 2
    return block


def _compute_block_digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:BLOCK_DIGEST_BYTES]
