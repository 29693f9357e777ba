"""`python -m heldout.demo [--stack]`, the program behind `make demo` and `make demo-stack`."""

import os
import signal
import sys


def _end_at_once(number: int, frame: object) -> None:
    os._exit(128 + number)


# While modules are loaded there is nothing to clean up; afterwards heldout.demo.run decides what a signal does.
for _number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    if signal.getsignal(_number) is not signal.SIG_IGN:
        signal.signal(_number, _end_at_once)

if __name__ == "__main__":
    from heldout.demo.run import main

    if sys.argv[1:] not in ([], ["--stack"]):
        sys.exit("usage: python -m heldout.demo [--stack]")
    raise SystemExit(main(stack=bool(sys.argv[1:])))
