"""What the server that forks training processes has imported by then. It must run nothing of TensorFlow.

A process that is forked after TensorFlow has run an op, or has only listed its devices, hangs.
"""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: F401
import tensorflow  # noqa: F401

import worker.runner  # noqa: F401
