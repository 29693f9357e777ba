"""How long a fresh process takes from a dataset in its cache to the first batch of a training."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from analysis.arrays.dataset import ImageSet, save

IMAGES = 60_000
ROUNDS = 9
ONCE = """
import sys, time
from pathlib import Path
import numpy as np
from heldout.spec.job import JobSpec
from worker.training.data import load_training_data, to_unit
spec = JobSpec.model_validate({"dataset": "x", "network": {"blocks": [{"filters": 1}]}})
began = time.perf_counter()
data = load_training_data(Path(sys.argv[1]), spec)
batch = to_unit(data.images[data.rows["train"][:32]], data.value_range)
assert batch.shape == (32, 28, 28, 1)
print(1000 * (time.perf_counter() - began))
"""


def main() -> None:
    """Print the median over fresh processes, and the extremes; the files are in the system's cache."""
    random = np.random.default_rng(0)
    order = random.permutation(IMAGES)
    splits = {"train": order[:50_000], "validation": order[50_000:55_000], "test": order[55_000:]}
    images = ImageSet(
        images=random.integers(0, 256, (IMAGES, 28, 28, 1), dtype=np.uint8),
        labels=(np.arange(IMAGES) % 10).astype(np.int32),
        splits={name: np.sort(rows) for name, rows in splits.items()},
        classes=tuple(map(str, range(10))),
        value_range=(0, 255),
    )
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder:
        save(images, Path(folder))
        took = [_once(folder) for _ in range(ROUNDS)]
    print(
        f"first batch of {IMAGES:,} cached images: median {statistics.median(took):.0f} ms, "
        f"{min(took):.0f}–{max(took):.0f} in {ROUNDS} fresh processes (target 50 ms)"
    )


def _once(folder: str) -> float:
    ran = subprocess.run([sys.executable, "-c", ONCE, folder], capture_output=True, text=True, check=True)
    return float(ran.stdout)
