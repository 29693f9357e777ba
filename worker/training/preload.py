"""Modules that the fork server imports before it forks. They must not run any TensorFlow operation.

A process forked after TensorFlow has run an op, or has merely listed its devices, hangs.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process

from heldout.parent_process import end_with_parent
from heldout.service.collection import pause_collection
from worker.machine.parent import SUPERVISOR_VARIABLE

os.environ["KERAS_BACKEND"] = "tensorflow"
# The fork server learns from a pipe that its worker has ended, but only after these imports: seconds later.
_IS_SERVER = parent_process() is None and SUPERVISOR_VARIABLE in os.environ
if _IS_SERVER:
    end_with_parent(int(os.environ[SUPERVISOR_VARIABLE]))


@contextmanager
def _silence_tensorflow() -> Iterator[None]:
    """Stop TensorFlow from greeting on standard error, the worker's log of JSON lines. No setting does."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _hide_packages(*packages: str) -> Iterator[None]:
    """Make Keras believe that packages are not installed, unless they are already imported."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# Keras imports these if installed, for wrappers, tables and notebooks that no training here uses. Scikit-learn alone
# takes a fifth of the import time, and 60 MB; the other two, if installed, as much again.
with _silence_tensorflow(), _hide_packages("sklearn", "pandas", "IPython"), pause_collection():
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    import worker.training.runner  # noqa: F401

# Later the thread that started it may end before the worker does.
if _IS_SERVER:
    end_with_parent(os.getppid(), number=0)

# From here on: TensorFlow writes modules to the temporary directory, imports and removes them, but would leave their
# bytecode.
sys.dont_write_bytecode = True
