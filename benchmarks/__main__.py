"""`make bench`: run the named benchmarks (ARGS="service …"), or all of them."""

import sys
from importlib import import_module

ALL = ("engine", "cure", "requests", "claims", "streams", "lists", "kill", "predictions")


def main(names: list[str]) -> None:
    unknown = [name for name in names if name not in ALL]
    if unknown:
        raise SystemExit(f"There is no benchmark {unknown[0]!r}; expected some of: {', '.join(ALL)}.")
    for name in names or ALL:
        import_module(f"benchmarks.{name}").main()


if __name__ == "__main__":
    main(sys.argv[1:])
