"""Which packages the server that forks has in memory, and with it every training."""

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


def test_packages_that_no_training_needs_are_not_loaded_but_can_be_imported_later():
    """They would take a third of the time of each start, and 120 MB."""
    looked = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert looked.stdout.split() == []
