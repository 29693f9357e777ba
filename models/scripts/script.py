"""A Python script that trains a job once more with NumPy and Keras alone, and prints its figures beside the job's.

Pure: from facts of a job to text. What a job does not need is not in its script.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from heldout.spec import JobSpec
from heldout.stored.final import FinalView
from models.scripts import changes, network, training
from models.scripts.fixed import MEASURE, SAVE
from models.scripts.reading import SPLITS_OF, Reader

SPLIT_CODES = {"train": 1, "validation": 2, "test": 3}
_LINE = 100


@dataclass(frozen=True)
class FirstWeights:
    """Where a job's first weights come from. source: id of a job or a model; taken: names of the layers."""

    source: str
    taken: Sequence[str]


@dataclass(frozen=True)
class ScriptFacts:
    """What a script is made of.

    splits: for each split that the job uses the positions of its images in the dataset, int64.
    images: how many the dataset has. digests: of the splits that are the dataset's own, as its row has them.
    shape: (height, width, channels). reader: what the data file is, and how it is read.
    ended: where something else than the script's own rules has ended the training.
    """

    job_id: str
    job_name: str
    spec: JobSpec
    classes: Sequence[str]
    shape: Sequence[int]
    value_range: Sequence[float]
    splits: Mapping[str, NDArray[np.int64]]
    images: int
    digests: Mapping[str, str]
    final: FinalView | None
    reader: Reader
    initial: FirstWeights | None = None
    ended: training.Ended | None = None


def script_of(facts: ScriptFacts) -> str:
    """The script."""
    spec = facts.spec
    parts = [
        _head(facts),
        _constants(facts),
        facts.reader.code,
        SPLITS_OF,
        network.build(spec.network, len(facts.classes), seed_of(spec)),
        *([] if facts.initial is None else [network.start(spec, facts.initial.source, facts.initial.taken)]),
        *changes.parts(spec),
        MEASURE,
        training.train(spec, facts.ended),
        SAVE,
        _main(facts),
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def seed_of(spec: JobSpec) -> int:
    assert spec.training.seed is not None, "the API completes every spec"
    return spec.training.seed


_COMPARED = """\
The figures of the job are printed beside those of this run. They agree but for rounding: another machine, a job in
several parts, on a GPU or in 16 bits rounds otherwise, and batch normalisation with Adam makes more of it."""
_NOT_COMPARED = """\
The job was cancelled before its weights were measured, so it has no figures to compare with. This run ends where the
job did, with the same weights but for rounding: another machine, a GPU or 16 bits round otherwise."""


def _head(facts: ScriptFacts) -> str:
    needed = "NumPy, Pillow and Keras" if facts.reader.needs_pillow else "NumPy and Keras"
    initial = "" if facts.initial is None else " INITIAL.keras"
    first = "" if facts.initial is None else f"\nINITIAL is the file `.keras` of {facts.initial.source}."
    return f'''"""Trains the job {facts.job_id} ({_one_line(facts.job_name)}) once more, with {needed} alone.

    python {facts.job_id}.py DATA{initial} [MODEL.keras]

DATA is {facts.reader.what}.{first}
{_NOT_COMPARED if facts.final is None else _COMPARED}
"""

{_imports(facts)}'''


def _imports(facts: ScriptFacts) -> str:
    of_python = sorted({"argparse", "base64", "hashlib", "json", "os", "sys", "zlib", *facts.reader.imports})
    uses_tensorflow = changes.use_tensorflow(facts.spec)
    return "\n".join(
        [
            *(f"import {name}" for name in of_python),
            "",
            'os.environ.setdefault("KERAS_BACKEND", "tensorflow")',
            "",
            "import keras",
            "import numpy as np",
            *(["import tensorflow as tf"] if uses_tensorflow else []),
            *(["from PIL import Image, ImageOps"] if facts.reader.needs_pillow else []),
        ]
    )


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() and letter not in '"\\' else "?" for letter in text)


def _constants(facts: ScriptFacts) -> str:
    codes = np.zeros(facts.images, np.uint8)
    for split, positions in facts.splits.items():
        codes[positions] = SPLIT_CODES[split]
    figures = {}
    if facts.final is not None:
        for split in SPLIT_CODES:
            result = getattr(facts.final, split)
            if result is not None:
                figures[split] = {"loss": nan if result.loss is None else result.loss, "accuracy": result.accuracy}
    shown = repr(figures).replace("nan", 'float("nan")')
    constants = [
        f"SEED = {seed_of(facts.spec)}",
        f"SHAPE = {tuple(facts.shape)}  # height, width, channels",
        f"LOW, HIGH = {facts.value_range[0]!r}, {facts.value_range[1]!r}  # range of the pixels",
        f"CLASSES = {json.dumps(list(facts.classes), ensure_ascii=True)}",
        *(["# What the job has measured.", f"OF_THE_JOB = {shown}"] if figures else []),
        "# SHA-256 of the images and labels of splits.",
        f"DIGESTS = {dict(facts.digests)!r}",
        "# For each image of the data: 1 train, 2 validation, 3 test, 0 not used. Compressed.",
        _packed("SPLITS", codes.tobytes()),
    ]
    for name, (comment, content) in facts.reader.constants.items():
        constants += [f"# {comment} Compressed.", _packed(name, content)]
    return "\n".join(constants)


def _packed(name: str, content: bytes) -> str:
    packed = base64.b64encode(zlib.compress(content, 9)).decode()
    lines = [f'    "{packed[first : first + _LINE]}"' for first in range(0, len(packed), _LINE)]
    return "\n".join([f"{name} = (", *lines, ")"])


_FIGURES = """\
    print("split       loss     accuracy")
    for split, of_split in splits.items():
        found = measure(network, *of_split)
        print(f"{split:10}  {found['loss']:.5f}  {found['accuracy']:.4f}")
"""
_FIGURES_BESIDE_THE_JOBS = """\
    print("split       loss     of the job  accuracy  of the job")
    for split, of_split in splits.items():
        found, job = measure(network, *of_split), OF_THE_JOB[split]
        losses = f"{found['loss']:.5f}  {job['loss']:.5f}"
        print(f"{split:10}  {losses}     {found['accuracy']:.4f}    {job['accuracy']:.4f}")
"""


def _main(facts: ScriptFacts) -> str:
    asks, starts = "", ""
    if facts.initial is not None:
        asks = '\n    parser.add_argument("initial")'
        starts = "\n    start_from(network, given.initial)"
    said = _FIGURES if facts.final is None else _FIGURES_BESIDE_THE_JOBS
    return f"""
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data"){asks}
    parser.add_argument("model", nargs="?")
    given = parser.parse_args()
    splits = splits_of(*read(given.data))
    network = build(){starts}
    train(network, splits)
{said}    if given.model:
        save(network, given.model)


if __name__ == "__main__":
    main()
"""
