"""What keeping the state costs: the time of writing it after an epoch over that of training the epoch."""

import statistics

from benchmarks import naive
from benchmarks.engine import _spec, _time_checkpoints

TARGET = 0.05


def main() -> None:
    """Print the median share and its range; the process that trains waits for the file, and for nothing else of it."""
    print(f"{'':<14} {'of an epoch, median':>20} {'range':>16}")
    for name in ("A", "B", "C augmented"):
        shares: list[float] = naive.in_process(_time_checkpoints, _spec(name))
        middle = statistics.median(shares)
        missed = "" if middle <= TARGET else f"   over {TARGET:.0%}"
        print(f"{name:<14} {middle:>20.2%} {min(shares):>8.2%}–{max(shares):.2%}{missed}", flush=True)


if __name__ == "__main__":
    main()
