"""What the server that forks has in memory, and every training with it."""

import subprocess
import sys

from tests.e2e.running import ROOT

LOOK = """
import sys
import worker.training.preload
assert {"keras", "tensorflow"} <= set(sys.modules)
print(*sorted({"IPython", "pandas", "scipy.stats", "sklearn"} & set(sys.modules)))
import sklearn.utils
from keras.wrappers import SKLearnClassifier
"""


def test_packages_that_no_training_needs_are_not_loaded_and_can_still_be_imported_later():
    """They would take a third of each start, and 120 MB."""
    looked = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert looked.stdout.split() == []
