"""The processor time of a check grows with the architecture and the file, and ends whatever computes."""

import subprocess
import sys
import time

import pytest

from worker.training.uploaded_models.time_limit import compute_limit_s

BUSY = """
import sys, numpy as np
from worker.training.uploaded_models import time_limit
time_limit.BASE_S = 1.0
limit = time_limit.TimeLimit(0, lambda refused: print(refused.code.value, refused.detail, flush=True))
limit.set_calls(int(sys.argv[1]))
{}
"""


@pytest.mark.parametrize("work", ["while True: pass", "while True: np.linalg.svd(np.ones((1500, 1500)))"])
def test_a_check_ends_after_its_time_whatever_it_computes(work):
    """A signal handler would wait for the end of a long operation."""
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", BUSY.format(work), "20"], capture_output=True, text=True, timeout=100, check=True
    )
    code, detail = ended.stdout.split(" ", 1)
    assert code == "timed_out"
    assert "more than 1 s of processor time, the limit for a network that calls layers 20 times" in detail
    assert time.monotonic() - began < 60


def test_the_time_grows_with_calls_and_bytes():
    assert compute_limit_s(0, 25_000) < 31
    # EfficientNetV2L, whose check takes 20 s, and VGG16 with its weights.
    assert compute_limit_s(1031, 1_500_000) > 50
    assert compute_limit_s(40, 553_000_000) > 80
