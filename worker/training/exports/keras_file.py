"""A `.keras` file, loaded again by plain Keras in a fresh process."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from heldout.parent_process import build_launch_command
from heldout.stored.results import CARD_FILE, ModelAbout
from worker.training.exports.exported_model import add_members, compile_to_evaluate
from worker.training.exports.proof import ProofImages, cut_into_parts

_SCRIPT = Path(__file__).with_name("plain_keras.py")


class NotLoaded(Exception):
    """The file could not be loaded again in its runtime."""


def write(model: keras.Model, about: ModelAbout, card: str, file: Path, scratch: Path) -> None:
    compile_to_evaluate(model)
    model.save(file)
    add_members(file, {about.file_name: about.to_bytes(), CARD_FILE: card.encode()})


def compute_answers(file: Path, images: ProofImages, scratch: Path) -> NDArray[np.float32]:
    """Compute (images, classes) probabilities. Raises NotLoaded."""
    positions, ends, answers = scratch / "positions.npy", scratch / "ends.npy", scratch / "answers.npy"
    np.save(positions, images.positions)
    np.save(ends, np.array([0, *(part.stop for part in cut_into_parts(len(images.positions)))]))
    files = [str(path) for path in (file, images.file, positions, ends, answers)]
    # -I: our code is not on its path, and our variables do not change its imports.
    command = build_launch_command([sys.executable, "-I", str(_SCRIPT), *files])
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if ended.returncode:
        lines = ended.stderr.decode(errors="replace").strip().splitlines()
        print("\n".join(lines[-20:]), file=sys.stderr)
        raise NotLoaded
    return np.load(answers)


def describe_runtime() -> str:
    return f"keras {keras.__version__}"
