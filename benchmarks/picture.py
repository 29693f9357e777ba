"""The picture beside the engine's figures: each work's share of the naive way's time, with the targets."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import vl_convert

_WIDTH = 560


def shares_svg(shares: Mapping[str, Sequence[float]], targets: Mapping[str, tuple[float, float]]) -> str:
    """An SVG: a bar for each work, the spread of its rounds, and marks where good and excellent begin.

    Args:
        shares: for each work the share of the naive way's wall clock in each round.
        targets: for each work the shares that count as good and as excellent.
    """
    works = [
        {
            "work": work,
            "share": median(rounds),
            "low": min(rounds),
            "high": max(rounds),
            "said": f"{median(rounds):.2f}",
        }
        for work, rounds in shares.items()
    ]
    marks = [
        {"work": work, "target": target, "level": level}
        for work in shares
        for target, level in zip(targets[work], ("good", "excellent"), strict=True)
    ]
    row = {"field": "work", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 260}}
    longest = max(1.0, *(one["high"] for one in works))

    def along(field: str) -> dict[str, Any]:
        title = "wall clock, share of the naive way's (1 = as long)"
        return {"field": field, "type": "quantitative", "title": title, "scale": {"domain": [0, longest]}}

    layers: list[dict[str, Any]] = [
        {"mark": {"type": "bar", "color": "#4c78a8"}, "encoding": {"x": along("share")}},
        {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": {"x": along("low"), "x2": {"field": "high"}}},
        {
            "mark": {"type": "text", "align": "left", "dx": 4, "dy": -7},
            "encoding": {"x": along("high"), "text": {"field": "said"}},
        },
        {
            "data": {"values": marks},
            "mark": {"type": "tick", "thickness": 3},
            "encoding": {
                "x": along("target"),
                "color": {
                    "field": "level",
                    "type": "nominal",
                    "title": None,
                    "scale": {"domain": ["good", "excellent"], "range": ["#f58518", "#54a24b"]},
                },
            },
        },
    ]
    return vl_convert.vegalite_to_svg(
        {
            "background": "white",
            "width": _WIDTH,
            "height": {"step": 34},
            "data": {"values": works},
            "encoding": {"y": row},
            "layer": layers,
        }
    )
