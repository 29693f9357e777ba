"""What the server that forks has in memory, and with it every training."""

import subprocess
import sys

from tests.e2e.running import ROOT

LOOK = """
import gc
import sys
import worker.training.preload
assert {"keras", "tensorflow"} <= set(sys.modules)
print(*sorted({"IPython", "pandas", "scipy.stats", "sklearn"} & set(sys.modules)))
print(gc.isenabled(), any(thing is sys.modules["keras"].__dict__ for thing in gc.get_objects()))
import sklearn.utils
from keras.wrappers import SKLearnClassifier
"""


def test_only_what_trainings_need_is_loaded_and_no_training_collects_garbage_from_it():
    """Other packages would take a third of the time of each start, and 120 MB. They can be imported later."""
    looked = subprocess.run([sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, check=True)
    packages, collection = looked.stdout.split("\n")[:2]
    assert (packages, collection) == ("", "True False")
