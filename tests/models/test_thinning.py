"""Thinned histories keep what a reader of the curve would notice."""

import random
from types import SimpleNamespace

from models.store.metrics import thin_out


def history(length: int) -> list[SimpleNamespace]:
    draw = random.Random(1)
    return [SimpleNamespace(epoch=n, train_loss=1.0, validation_loss=draw.random() + 1.0) for n in range(1, length + 1)]


def test_thinning_keeps_first_last_best_and_peaks_within_the_requested_number():
    epochs = history(1000)
    epochs[617].validation_loss, epochs[333].validation_loss, epochs[901].validation_loss = 0.1, 9.0, None
    for points in (10, 11, 100, 999):
        kept = [epoch.epoch for epoch in thin_out(epochs, points)]
        assert len(kept) <= points
        assert kept == sorted(set(kept))
        assert {1, 1000, 618, 902} <= set(kept)
        assert 334 in kept or points < 12  # the peak of its stretch; with four stretches another may be higher
    assert len(thin_out(epochs, 100)) > 80
    assert thin_out(epochs, 1000) == epochs
    assert thin_out([], 10) == []
