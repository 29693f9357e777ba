"""Estimates the seconds of each kind of work from the measured times of small networks."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from analysis.scheduling.cost import Speed, Work, count_measuring_work, count_training_work
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network

Image = tuple[int, int, int]
# Seconds of one gradient step, and of one batch in inference mode.
Times = tuple[float, float]

CLASSES = 10
_AUGMENTED = {"rotation_degrees": 20, "width_shift": 0.2, "horizontal_flip": True}
_Network = tuple[Image, int, dict[str, Any], dict[str, Any] | None]
_NETWORKS: tuple[_Network, ...] = (
    ((8, 8, 1), 8, {"blocks": [{"filters": 4}]}, None),
    ((8, 8, 1), 32, {"blocks": [{"filters": 8, "padding": "same", "repeat": 4, "pool": 1}]}, None),
    ((28, 28, 1), 32, {"blocks": [{"filters": 16}]}, None),
    ((28, 28, 1), 32, {"blocks": [{"filters": 16}]}, _AUGMENTED),
    ((28, 28, 1), 32, {"blocks": [{"filters": 48, "dropout": 0.3}]}, None),
    ((28, 28, 1), 32, {"blocks": [{"filters": 32}, {"filters": 64}, {"filters": 96}]}, None),
    ((28, 28, 1), 32, {"blocks": [{"filters": 32, "dropout": 0.25}, {"filters": 64, "dropout": 0.25}]}, None),
    ((28, 28, 1), 16, {"blocks": [{"filters": 16, "kernel_size": 5, "repeat": 2, "pool": 1}]}, None),
    ((28, 28, 1), 32, {"blocks": [{"filters": 24, "activation": "gelu"}]}, None),
    ((28, 28, 1), 32, {"blocks": [{"filters": 16, "batch_norm": True}, {"filters": 24, "batch_norm": True}]}, None),
    ((28, 28, 1), 32, {"blocks": [{"filters": 8}], "dense": [{"units": 512}]}, None),
    ((32, 32, 3), 64, {"blocks": [{"filters": 16, "padding": "same"}, {"filters": 32, "padding": "same"}]}, None),
)
# Two of them again, with mixed images and with averaged weights.
_TRAINED_OTHERWISE: tuple[tuple[_Network, dict[str, Any]], ...] = (
    (_NETWORKS[2], {"mixup": 0.2}),
    (_NETWORKS[10], {"ema_decay": 0.99}),
)


def _make_spec(
    batch_size: int, network: dict[str, Any], augmentation: dict[str, Any] | None, training: dict[str, Any]
) -> JobSpec:
    training = {"batch_size": batch_size, "seed": 1} | training
    return JobSpec.model_validate(
        {"dataset": "digits", "network": network, "augmentation": augmentation, "training": training}
    )


SPECS: list[tuple[JobSpec, Image]] = [
    (_make_spec(batch_size, network, augmentation, training), image)
    for (image, batch_size, network, augmentation), training in (
        *((network, dict[str, Any]()) for network in _NETWORKS),
        *_TRAINED_OTHERWISE,
    )
]
# Positions in `SPECS` of networks also measured with two towers; the others are too small, or normalize batches.
TWO_TOWER_SPECS = (2, 4, 5, 6)


def fit_speed(
    times: Sequence[Times], split: Sequence[Times] | None, cores: int = 1, mixed: Sequence[Times] | None = None
) -> Speed:
    """Return the speed that explains the measured times of `SPECS`.

    Args:
        times: with one tower, in the order of `SPECS`.
        split: with two towers, in the order of `TWO_TOWER_SPECS`; None on one core.
        cores: of the worker.
        mixed: with one tower in 16 bits, in the order of `SPECS`; None if the processor has no units for them.
    """
    plans = [plan_network(spec.network, image, CLASSES) for spec, image in SPECS]

    def fitted_to(seconds: Sequence[Times]) -> tuple[dict[str, float], dict[str, float]]:
        trained = [(count_training_work(spec, plans[n]), seconds[n][0]) for n, (spec, _) in enumerate(SPECS)]
        measured = [(count_measuring_work(spec, plans[n]), seconds[n][1]) for n, (spec, _) in enumerate(SPECS)]
        return fit_seconds(trained), fit_seconds(measured)

    speed = Speed(*fitted_to(times), cores=cores)
    if mixed is not None:
        training, measuring = fitted_to(mixed)
        speed = replace(speed, mixed_training=training, mixed_measuring=measuring)
    if split is None:
        return speed
    # Other processes must not make two towers look slower than one.
    shares = [
        min(1.0, median(two[kind] / times[number][kind] for number, two in zip(TWO_TOWER_SPECS, split, strict=True)))
        for kind in (0, 1)
    ]
    return replace(speed, training_share=shares[0], measuring_share=shares[1])


def fit_seconds(samples: Sequence[tuple[Work, float]]) -> dict[str, float]:
    """Fit seconds per unit of each kind of work, none below zero, with small relative errors for the samples."""
    from scipy.optimize import nnls  # the supervisor needs it only once

    kinds = list(samples[0][0])
    amounts = np.asarray([[work[kind] for kind in kinds] for work, _ in samples])
    seconds = np.asarray([took for _, took in samples])
    scale = np.maximum(amounts.max(axis=0), 1e-12)
    shares, _ = nnls(amounts / scale / seconds[:, None], np.ones(len(samples)))
    return dict(zip(kinds, (shares / scale).tolist(), strict=True))
