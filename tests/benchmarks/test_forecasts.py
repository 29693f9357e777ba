"""Forecasts of learning curves, back-tested on the recorded ones: the published figures, in short."""

from benchmarks.cures import curves, forecasts


def test_forecasts_of_recorded_curves_are_nearer_than_what_people_do_and_their_intervals_hold() -> None:
    for by in ("validation", "referee"):
        reals = [
            real
            for of_sealed in (False, True)
            for real in forecasts.real_curves(curves.FILE, of_sealed=of_sealed, by=by)
        ]
        found = forecasts.score(reals)
        assert found.curves >= 30
        assert len(found.refused) <= 0.2 * found.curves
        for rival in forecasts.RIVALS:
            assert found.mean(forecasts.OURS) < found.mean(rival)
        assert 0.85 <= found.covered
        for refused, count in forecasts.refusals(reals).values():
            assert refused >= 0.8 * count
