"""A process returns its memory after answering a wave of large bodies."""

import subprocess
import sys

import pytest

WAVE = """
import sys, threading
from pathlib import Path

def resident_mib():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1024**2

if sys.argv[1] == "limited":
    from api.connections.server import limit_allocator
    limit_allocator()
bytearray(8 * 1024**2)  # once it is freed, glibc takes blocks of up to 8 MiB from its heaps
before = resident_mib()
small, all_allocated = [], threading.Barrier(8)

def take():
    blocks = []
    for _ in range(20):
        blocks.append(bytearray(1024**2))
        blocks[-1][:] = b"x" * 1024**2
        small.append(bytearray(2000))  # stays, above the large block
    all_allocated.wait()

threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resident_mib() - before)
"""


def measure_kept_mib(how: str) -> float:
    printed = subprocess.run([sys.executable, "-c", WAVE, how], capture_output=True, text=True, check=True).stdout
    return float(printed)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_large_freed_blocks_return_to_the_system() -> None:
    assert measure_kept_mib("limited") < 16
    assert measure_kept_mib("default") > 64, (
        "this test proves nothing here: the allocator returns memory without the limit"
    )
