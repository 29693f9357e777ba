"""Builds networks from mutated configs and prints the outcomes as JSON. Arguments: CONFIGS SEED SECRET.

It needs its own process, because an audit hook cannot be removed and large layers may end the process. Files outside
Python's own folders, sockets and processes that the hook reports are listed as broken.
"""

import json
import random
import sys
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import worker.training.preload  # noqa: F401
from tests.worker.training.hostile_models import OUTSIDE, REACHING, part, plain
from worker.machine.enclosure import GIB, limit_process
from worker.training.model_files.keras_config import read_network
from worker.training.model_files.keras_file import build_model
from worker.training.model_files.keras_parts import ACTIVATIONS, ARGUMENTS, DTYPES, INITIALIZERS, LAYERS, iterate_parts
from worker.training.model_files.refusal import ModelRefused

EVENTS = (
    "subprocess.",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "socket.",
    "shutil.",
    "urllib.",
    "ctypes.dlopen",
)


def draw_value(rng: random.Random, secret: str) -> Any:
    """Draw a value for an argument. Most are of a kind that networks have, so that many configs can be built."""
    listed = [(module, name) for module, names in {**LAYERS, **INITIALIZERS}.items() for name in sorted(names)]
    module, name = rng.choice(listed)
    reached, arguments = rng.choice(sorted(REACHING.items()))
    return rng.choice(
        [
            rng.choice([0, 1, 2, 3, 7, 16, -1, 2**31, 0.5, 1e-9, True, False, None, float("inf")]),
            [rng.choice([0, 1, 2, 3, None, -1]) for _ in range(rng.randrange(4))],
            rng.choice([*sorted(ACTIVATIONS), *sorted(DTYPES), "same", "channels_first", "bilinear", "ab,bc->ac"]),
            part(module, name, {rng.choice(sorted(ARGUMENTS)): rng.choice([1, 2, [1, 2], "relu", None])}),
            part("keras", reached, {key: secret if value == "PATH" else value for key, value in arguments.items()}),
            part(*rng.choice(OUTSIDE), {"name": secret}),
            {"class_name": rng.choice(["__lambda__", "__bytes__", "__typespec__"]), "config": {"value": secret}},
            {"class_name": "__tensor__", "config": {"value": [1.0, 2.0], "dtype": rng.choice(sorted(DTYPES))}},
            secret,
            f"file://{secret}",
            "http://127.0.0.1:9/model.h5",
            rng.choice(["keras", "keras.src.saving.saving_lib", "os", "builtins"]),
        ]
    )


def mutate(config: Any, rng: random.Random, secret: str) -> None:
    """Change something somewhere in the config."""
    places = [holder for holder in _list_containers(config) if holder]
    for _ in range(rng.choice([1, 1, 2, 4])):
        holder = rng.choice(places)
        if isinstance(holder, dict):
            key = rng.choice([*holder, *holder, rng.choice(sorted(ARGUMENTS)), "vocabulary", "filepath", "module"])
            holder[key] = rng.choice([draw_value(rng, secret), *holder.values()])
        elif rng.random() < 0.5:
            holder[rng.randrange(len(holder))] = draw_value(rng, secret)
        else:
            holder.append(rng.choice([draw_value(rng, secret), deepcopy(rng.choice(holder))]))
    if rng.random() < 0.3 and (parts := list(iterate_parts(config))):  # swap a class for another that is allowed
        module, names = rng.choice(sorted(LAYERS.items()))
        rng.choice(parts).update(module=module, class_name=rng.choice(sorted(names)))


def _list_containers(value: Any) -> list[Any]:
    left, found = [value], []
    while left:
        part = left.pop()
        if isinstance(part, dict | list):
            found.append(part)
            left += part.values() if isinstance(part, dict) else part
    return found


def main(configs: int, seed: int, secret: str) -> None:
    import keras
    import numpy as np

    build_model(read_network(plain()))(np.zeros((1, 8, 8, 3), np.float32))  # import what Keras loads lazily
    content = Path(secret).read_text().strip()
    outcomes: Counter[str] = Counter()
    broken: list[str] = []
    installed = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[3]))
    allowed = (*installed, "/usr/lib/python3", "/proc/", "/sys/", "/dev/null")

    def record(event: str, arguments: tuple[Any, ...]) -> None:
        is_file = event == "open" and isinstance(arguments[0], str | bytes | Path)
        path = str(arguments[0]) if is_file else ""
        if (is_file and not path.startswith(allowed)) or event.startswith(EVENTS):
            broken.append(f"{event} {str(arguments)[:200]}")

    limit_process(4 * GIB, 600)
    rng = random.Random(seed)
    sys.addaudithook(record)
    for _ in range(configs):
        config = plain()
        mutate(config, rng, secret)
        try:
            network = build_model(read_network(config))
            outcomes["built"] += 1
            # Large networks take long and reveal nothing more.
            if network.count_params() < 10**6 and len(network.inputs) == 1:
                shape = [1, *(size or 4 for size in network.inputs[0].shape[1:])]
                if np.prod(shape) < 10**6:
                    network(np.zeros(shape, np.float32))
                    outcomes["answered"] += 1
        except ModelRefused as refused:
            outcomes[refused.code.value] += 1
            if content in refused.detail or not refused.detail.isprintable():
                broken.append(refused.detail)
        except Exception as error:  # noqa: BLE001 - a network that was built may fail on an image
            outcomes[f"fails: {type(error).__name__}"] += 1
        keras.backend.clear_session()
        if broken:
            broken.append(json.dumps(config))
            break
    print(json.dumps({"outcomes": outcomes, "broken": broken[:20]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
