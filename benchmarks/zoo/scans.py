"""A set of slices of one head."""

import gzip
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.zoo.drawing import Variety, ink, place
from benchmarks.zoo.packages import files_of, package
from benchmarks.zoo.sets import Sample, ZooSet


def brain_slices(rng: np.random.Generator) -> Iterator[Sample]:
    """Slices of one head; the class is the direction of the cut and the third of the head that it lies in."""
    (file,) = files_of(package("pip", "nilearn"), "**/mni_icbm152_t1_tal*.nii.gz")
    raw = gzip.decompress(file.read_bytes())
    shape = np.frombuffer(raw, "<i2", 4, 40)[1:4]
    kind = {2: "u1", 4: "<i2", 16: "<f4", 64: "<f8"}[int(np.frombuffer(raw, "<i2", 1, 70)[0])]
    first = int(np.frombuffer(raw, "<f4", 1, 108)[0])
    head = np.frombuffer(raw, kind, int(shape.prod()), first).reshape(shape, order="F").astype(np.float64)
    head *= 255 / head.max()
    for axis, direction in enumerate(("sagittal", "coronal", "axial")):
        filled = np.flatnonzero((head > 20).any(axis=tuple({0, 1, 2} - {axis})))
        inside = np.arange(filled[0] + 8, filled[-1] - 8)
        for third, part in enumerate(np.array_split(inside, 3)):
            # Slabs of six slices are groups; two slices between slabs are left out.
            for place_, number in enumerate(part):
                if place_ % 8 >= 6:
                    continue
                picture = Image.fromarray(np.rot90(head.take(number, axis)).clip(0, 255).astype(np.uint8))
                for _ in range(4):
                    variety = Variety(turn=12, size=0.85, shift=0.06, blur=0.02, noise=15)
                    pixels = 255 - ink(place(picture, 64, variety, rng), variety, rng)
                    yield pixels, f"{direction} {third + 1}", f"{axis} {third} {place_ // 8}"


SCANS = (
    ZooSet(
        "brain_slices",
        "Slices of one head by magnetic resonance, grey; the class is direction and third. Groups: slabs with gaps",
        (package("pip", "nilearn"),), brain_slices, "easy", 1,
    ),
)  # fmt: skip
