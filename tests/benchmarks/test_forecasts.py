"""Forecasts of the recorded learning curves: a short form of the published figures."""

from benchmarks.cures import curves, forecasts
from benchmarks.cures.forecasts import OURS


def test_forecasts_are_closer_than_the_last_value_and_their_intervals_cover_the_truth() -> None:
    covered = []
    for by, known in (("validation", 5), ("referee", 5), ("validation", 4), ("referee", 4)):
        reals = [
            real
            for of_sealed in (False, True)
            for real in forecasts.real_curves(curves.FILE, of_sealed=of_sealed, by=by, known=known)
        ]
        found = forecasts.score(reals)
        assert found.curves >= 30
        assert len(found.refused) <= 0.2 * found.curves
        assert forecasts.better_by(found.missed, "the last value")[0] > 0
        # With few validation images, neither is clearly closer.
        assert forecasts.better_by(found.missed, "a plain power law")[1] > 0
        if (by, known) == ("referee", 5):
            assert found.mean(OURS) < found.mean("a plain power law")
        covered += [found.covered] * (found.curves - len(found.refused))
        if known == 5 and by == "validation":
            for refused, count in forecasts.refusals(reals).values():
                assert refused >= 0.8 * count
    assert 0.85 <= sum(covered) / len(covered) <= 0.95
