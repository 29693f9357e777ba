"""The part of a script that reads the data file, as the service has read it: arrays, a table, or folders of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heldout.datasets import ResizeSpec

_READ = '''
def read(path):
    """Images (count, height, width, channels) and labels (count,), as the service has read them."""
'''

_FROM_ARRAYS = """\
    families = (
        (("x_train", "y_train"), ("x_val", "y_val"), ("x_valid", "y_valid"), ("x_validation", "y_validation"),
         ("x_test", "y_test")),
        (("train_images", "train_labels"), ("val_images", "val_labels"), ("test_images", "test_labels")),
        (("x", "y"),),
        (("X", "y"),),
        (("images", "labels"),),
    )
    with np.load(path, allow_pickle=False) as arrays:
        family = next(family for family in families if any(images in arrays for images, _ in family))
        pairs = [(arrays[images], arrays[labels].reshape(-1)) for images, labels in family if images in arrays]
        names = next((arrays[key] for key in ("class_names", "classes", "label_names") if key in arrays), None)
    labels = np.concatenate([one for _, one in pairs])
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8")
    if names is None:  # else they are places in the names already
        labels = np.unique(labels, return_inverse=True)[1]
    images = [one.reshape(*one.shape[:3], -1) for one, _ in pairs]  # grey ones beside coloured ones are repeated
    images = np.concatenate([np.broadcast_to(one, (len(one), *SHAPE)) for one in images])
    if images.dtype.kind == "f" or images.min() < 0 or images.max() > 255:
        images = images.astype(np.float32)
    else:
        images = images.astype(np.uint8)
    return images, labels.astype(np.int32)
"""

_FROM_TABLE = """\
    table = np.loadtxt(path, delimiter=",").astype(np.int64)  # the pixels of an image, then its label
    labels = np.unique(table[:, -1], return_inverse=True)[1]
    return table[:, :-1].astype(np.uint8).reshape(-1, *SHAPE), labels.astype(np.int32)
"""

_MEMBERS = '''
def members(path):
    """The name of each file in a zip or tar, and its content."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield from ((entry.filename, archive.read(entry)) for entry in archive.infolist() if not entry.is_dir())
        return
    with tarfile.open(path) as archive:
        yield from ((entry.name, archive.extractfile(entry).read()) for entry in archive if entry.isfile())


def decoded(content):
    """An image file as an array: upright, over white, in the size and the colours of the dataset."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image).convert("RGB")
    elif image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    image = image.convert("L" if SHAPE[2] == 1 else "RGB")
'''

_RESIZE = {
    "stretch": "image.resize(size, Image.Resampling.BILINEAR)",
    "crop": "ImageOps.fit(image, size, Image.Resampling.BILINEAR)",
    "pad": "ImageOps.pad(image, size, Image.Resampling.BILINEAR)",
}

_FROM_FOLDERS = """\
    names = zlib.decompress(base64.b64decode(NAMES)).decode().split("\\n")
    labels = np.frombuffer(zlib.decompress(base64.b64decode(LABELS)), "<u2").astype(np.int32)
    places = {name: place for place, name in enumerate(names)}
    images = np.zeros((len(names), *SHAPE), np.uint8)
    for name, content in members(path):
        parts = unicodedata.normalize("NFC", name.replace("\\\\", "/")).split("/")
        place = places.pop("/".join(part for part in parts if part not in ("", ".")), None)
        if place is not None:
            images[place] = decoded(content)
    if places:
        sys.exit(f"This is other data: it lacks {len(places)} of the job's images, such as {next(iter(places))}.")
    return images, labels
"""

SPLITS_OF = '''
def digest_of(images, labels):
    digest = hashlib.sha256(json.dumps([images.dtype.str, SHAPE]).encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i4").data)
    return digest.hexdigest()


def splits_of(images, labels):
    """For each split its images, scaled to 0–1 as the network sees them, and its labels."""
    codes = np.frombuffer(zlib.decompress(base64.b64decode(SPLITS)), np.uint8)
    if len(codes) != len(images):
        sys.exit(f"This is other data: it has {len(images)} images, and the job's has {len(codes)}.")
    found = {}
    for code, split in enumerate(("train", "validation", "test"), start=1):
        rows = np.flatnonzero(codes == code)
        if not len(rows):
            continue
        if split in DIGESTS and digest_of(images[rows], labels[rows]) != DIGESTS[split]:
            sys.exit(f"This is other data: the {split} images or labels differ from those of the job.")
        scaled = (images[rows].astype(np.float32) - np.float32(LOW)) / (np.float32(HIGH) - np.float32(LOW))
        found[split] = scaled, labels[rows]
    return found
'''


@dataclass(frozen=True)
class Reader:
    """How a script reads its data file.

    what: the file, in words. code: has the function `read`. imports: names of Python's own modules that it needs.
    constants: by name a comment and the content, which the script holds compressed.
    """

    what: str
    code: str
    imports: tuple[str, ...] = ()
    needs_pillow: bool = False
    constants: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)


def of_arrays(what: str) -> Reader:
    """Reads an .npz of images and labels."""
    return Reader(what, _READ + _FROM_ARRAYS)


def of_table(what: str) -> Reader:
    """Reads a table of whole numbers: the pixels of an image, then its label."""
    return Reader(what, _READ + _FROM_TABLE)


def of_folders(what: str, names: Sequence[str], labels: NDArray[np.int32], resize: ResizeSpec | None) -> Reader:
    """Reads image files out of a zip or tar.

    names, labels: (images,) paths in the archive and classes, in the order of the dataset.
    """
    decoded = _MEMBERS
    if resize is not None:
        decoded += (
            f"    size = {resize.width}, {resize.height}\n"
            f"    image = image if image.size == size else {_RESIZE[resize.rule]}\n"
        )
    decoded += "    return np.asarray(image).reshape(SHAPE)\n\n"
    return Reader(
        what,
        decoded + _READ + _FROM_FOLDERS,
        imports=("io", "tarfile", "unicodedata", "zipfile"),
        needs_pillow=True,
        constants={
            "NAMES": ("The path of each image in the archive.", "\n".join(names).encode()),
            "LABELS": ("The class of each image, as a place in CLASSES.", labels.astype("<u2").tobytes()),
        },
    )
