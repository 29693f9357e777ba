"""Modules that the fork server imports before it forks. They must not run any TensorFlow operation.

A process that is forked after TensorFlow has run an op, or has only listed its devices, hangs.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process

from heldout.service.parent_process import end_with_parent
from worker.machine.parent import SUPERVISOR_VARIABLE

os.environ["KERAS_BACKEND"] = "tensorflow"
# The server that forks hears of its worker's end by a pipe, but only after it has imported all this: seconds later.
_IS_SERVER = parent_process() is None and SUPERVISOR_VARIABLE in os.environ
if _IS_SERVER:
    end_with_parent(int(os.environ[SUPERVISOR_VARIABLE]))


@contextmanager
def _silence_tensorflow() -> Iterator[None]:
    """TensorFlow greets on standard error, which is the worker's log, where every line is JSON; no setting stops it."""
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
    """Have Keras believe that packages are not installed, unless they are imported already."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


# Keras imports these where it finds them, for wrappers, tables and notebooks that no training here has. Scikit-learn
# alone is a fifth of the time that this takes, and 60 MB; the other two, where they are installed, are as much again.
with _silence_tensorflow(), _hide_packages("sklearn", "pandas", "IPython"):
    import keras  # noqa: F401
    import tensorflow  # noqa: F401

    import worker.training.runner  # noqa: F401

# Later another thread of the worker may be the one that started it, and end before the worker does.
if _IS_SERVER:
    end_with_parent(os.getppid(), number=0)

# From here on. TensorFlow writes modules into the temporary directory, imports them and removes them, but would leave
# their bytecode.
sys.dont_write_bytecode = True
