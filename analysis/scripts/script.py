"""A Python script that trains a job again with only NumPy and Keras, and prints its figures next to the job's.

Pure: from facts of a job to text, with the templates next to this file.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import nan, radians
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray

from analysis.answers.answers import NO_GROUP
from heldout.metrics import METRICS
from heldout.spec.augmentation import AugmentationSpec
from heldout.spec.dataset import ResizeSpec
from heldout.spec.job import JobSpec
from heldout.spec.objective import MonitoredFigure
from heldout.spec.optimization import PlateauSchedule
from heldout.stored.results import FinalView

SPLIT_CODES = {"train": 1, "validation": 2, "test": 3}
_LINE = 100
_IMPORTS = ("argparse", "base64", "hashlib", "json", "os", "sys", "zlib")
_LEAST_ALPHA = 1e-6  # as in `worker/training/augmentation/mixing.py`


@dataclass(frozen=True)
class Reader:
    """How a script reads its data file.

    what: a description of the file. template: has the function `read`. imports: standard modules that it needs.
    constants: by name, a comment and the content, which the script stores compressed.
    """

    what: str
    template: str
    resize: ResizeSpec | None = None
    imports: tuple[str, ...] = ()
    needs_pillow: bool = False
    constants: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return TEMPLATES.get_template(self.template).render(reader=self)


def make_array_reader(what: str) -> Reader:
    """Reads an .npz of images and labels."""
    return Reader(what, "read_arrays.py.jinja")


def make_table_reader(what: str) -> Reader:
    """Reads a table of whole numbers: the pixels of an image, then its label."""
    return Reader(what, "read_table.py.jinja")


def make_folder_reader(what: str, names: Sequence[str], labels: NDArray[np.int32], resize: ResizeSpec | None) -> Reader:
    """Reads image files out of a folder, zip or tar.

    names, labels: (images,) paths in the archive and classes, in the order of the dataset.
    """
    return Reader(
        what,
        "read_folders.py.jinja",
        resize,
        imports=("io", "tarfile", "unicodedata", "zipfile"),
        needs_pillow=True,
        constants={
            "NAMES": ("The path of each image in the archive.", "\n".join(names).encode()),
            "LABELS": ("The class of each image, as a place in CLASSES.", labels.astype("<u2").tobytes()),
        },
    )


@dataclass(frozen=True)
class FirstWeights:
    """Where a job's first weights come from. source: id of a job or a model; taken: names of the layers."""

    source: str
    taken: Sequence[str]


@dataclass(frozen=True)
class Ended:
    """The end of a training that the script's own rules would not have ended.

    epochs: the number of complete epochs. why: the reason in words. by_guard: whether the guard against overfitting
    ended it.
    """

    epochs: int
    why: str
    by_guard: bool = False


@dataclass(frozen=True)
class ScriptFacts:
    """The content of a script.

    splits: for each split of the job, the positions of its images in the dataset, int64.
    images: how many the dataset has. digests: of the dataset's own splits, as in its row.
    shape: (height, width, channels). reader: the data file, and how it is read.
    ended: if something other than the script's own rules ended the training.
    groups: (images,) the group of each by the spec's `group_column`, if it has one.
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
    ended: Ended | None = None
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class _Best:
    """The best epoch, and what follows from it.

    figure: `loss`, `accuracy` or `objective`. less_is_better: whether it gets better by falling.
    patience: epochs without improvement that end the training; None if none do.
    """

    figure: str
    less_is_better: bool
    min_delta: float
    patience: int | None
    is_kept: bool


def render_script(facts: ScriptFacts) -> str:
    """Write the script."""
    spec, training = facts.spec, facts.spec.training
    assert training.seed is not None, "the API completes every spec"
    seeds = np.random.default_rng([training.seed, 0])  # used as in `worker/training/networks/network.py`
    augmentation = spec.augmentation or AugmentationSpec()
    mixes = bool(training.mixup or training.cutmix)
    by_shares = bool(training.label_smoothing) or mixes or training.loss.name == "focal"
    return TEMPLATES.get_template("train.py.jinja").render(
        facts=facts,
        spec=spec,
        training=training,
        network=spec.network,
        augmentation=augmentation,
        reader=facts.reader,
        initial=facts.initial,
        ended=facts.ended,
        job_name="".join(each if each.isprintable() and each not in '"\\' else "?" for each in facts.job_name),
        imports=sorted({*_IMPORTS, *facts.reader.imports}),
        codes=_encode_splits(facts),
        groups=_encode_groups(facts),
        no_group=NO_GROUP % 256,
        figures=_format_figures(facts.final),
        next_seed=partial(seeds.integers, 2**31),
        frozen=tuple(f"block{number}_" for number in range(1, spec.initial.freeze_blocks + 1)) if spec.initial else (),
        mixes=mixes,
        alpha=max(training.mixup or training.cutmix, _LEAST_ALPHA),
        by_shares=by_shares,
        loss=_LOSSES[training.loss.name] if by_shares else "SparseCategoricalCrossentropy",
        averages=training.ema_decay is not None,
        momentum=training.batch_norm.momentum,
        recounts=spec.evaluation.recount_batch_norm,
        plateau=isinstance(training.schedule, PlateauSchedule),
        best=_describe_best(spec, facts.ended),
        followed=_describe_figure(spec.followed, spec),
        objective=spec.objective if _uses_objective(spec) else None,
    )


def _uses_objective(spec: JobSpec) -> bool:
    """Return whether the script must compute the objective after each epoch."""
    lowers = isinstance(spec.training.schedule, PlateauSchedule) and spec.has_own_objective
    stops = spec.training.early_stopping is not None and spec.monitored == "validation_objective"
    return lowers or stops


# The classes of `keras.losses` whose targets are shares of classes.
_LOSSES = {"cross_entropy": "CategoricalCrossentropy", "focal": "CategoricalFocalCrossentropy"}


def _encode_splits(facts: ScriptFacts) -> bytes:
    codes = np.zeros(facts.images, np.uint8)
    for split, positions in facts.splits.items():
        codes[positions] = SPLIT_CODES[split]
    return codes.tobytes()


def _encode_groups(facts: ScriptFacts) -> bytes:
    """Encode the groups of the validation images as bytes."""
    if facts.groups is None or "validation" not in facts.splits:
        return b""
    return facts.groups[np.sort(facts.splits["validation"])].astype(np.uint8).tobytes()


def _format_figures(final: FinalView | None) -> str:
    results = {split: getattr(final, split, None) for split in SPLIT_CODES}
    figures = {
        split: {"loss": nan if result.loss is None else result.loss, "accuracy": result.accuracy}
        for split, result in results.items()
        if result is not None
    }
    return repr(figures).replace("nan", 'float("nan")') if figures else ""


def _describe_best(spec: JobSpec, ended: Ended | None) -> _Best | None:
    """Say which epoch's weights are kept, if not the last one's, and what ends the training."""
    early = spec.training.early_stopping
    restores = spec.training.on_overfit == "stop_and_restore"
    if restores and (early is None or (ended is not None and ended.by_guard)):
        return _Best("loss", True, 0.0, None, is_kept=True)
    if early is None:
        return None
    # If something else ended it, patience had not run out before.
    return _Best(*_describe_figure(spec.monitored, spec), early.min_delta, early.patience, early.restore_best)


class _Figure(NamedTuple):
    """A figure of an epoch, and whether it gets better by falling."""

    figure: str
    less_is_better: bool


def _describe_figure(figure: MonitoredFigure, spec: JobSpec) -> _Figure:
    measure = spec.objective if figure == "validation_objective" else None
    less_is_better = figure == "validation_loss" if measure is None else not METRICS[measure].is_share
    return _Figure(figure.removeprefix("validation_"), less_is_better)


def _dump_json(value: Sequence[str] | Mapping[str, float]) -> str:
    return json.dumps(dict(value) if isinstance(value, Mapping) else list(value))


def _pack_lines(content: bytes) -> str:
    """Return the lines of a text with the compressed content."""
    packed = base64.b64encode(zlib.compress(content, 9)).decode()
    return "\n".join(f'    "{packed[first : first + _LINE]}"' for first in range(0, len(packed), _LINE))


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"dict": dict, "json": _dump_json, "packed": _pack_lines, "radians": radians, "tuple": tuple}
