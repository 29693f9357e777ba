"""TensorBoard's scalars: curves by run and tag, each with values by step."""

import math
from collections.abc import Iterable, Mapping

from heldout.diagnosis.history import parse_figure
from heldout.histories.names import SeveralCurvesError, choose_curves, split_words
from heldout.histories.recorded import RecordedRun


def group_scalars_into_runs(scalars: Mapping[str, Iterable[tuple[int, float]]]) -> list[RecordedRun]:
    """Group scalars by run and tag (`validation/epoch_loss`; pairs of step and value in written order) into runs.

    Trainings in separate folders are separate runs.
    """
    curves = {
        name: [(float(step), _convert_to_float(value)) for step, value in pairs] for name, pairs in scalars.items()
    }
    whole = _run(curves, "")
    try:
        choose_curves([name for name in curves if curves[name]])
    except SeveralCurvesError:
        return _group_by_folder(curves) or [whole]
    except ValueError:
        pass
    return [whole]


def _group_by_folder(curves: Mapping[str, list[tuple[float, float]]]) -> list[RecordedRun]:
    """Make a run for each folder with a pair of curves; empty if folders do not separate them."""
    groups: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, points in curves.items():
        folder, _, rest = name.partition("/")
        groups.setdefault(folder, {})[rest] = points
    if len(groups) == 1:
        [(folder, inner)] = groups.items()
        return _group_by_folder(inner) if any("/" in name for name in inner) else []
    return [_run(group, folder) for folder, group in groups.items() if _has_a_pair(group)]


def _has_a_pair(curves: Mapping[str, object]) -> bool:
    try:
        choose_curves([name for name in curves if curves[name]])
    except ValueError:
        return False
    return True


def _run(curves: Mapping[str, list[tuple[float, float]]], name: str) -> RecordedRun:
    return RecordedRun(curves=curves, by_epoch=frozenset(filter(_is_by_epoch, curves)), name=name)


def _is_by_epoch(name: str) -> bool:
    """Whether a scalar's steps are epochs, as in Keras' `epoch_loss`. Lightning's `loss_epoch` counts batches."""
    return split_words(name.rpartition("/")[2])[0] == "epoch"


def _convert_to_float(value: float) -> float:
    """Convert to a float; integers that are too large become infinite.

    Raises:
        ValueError: if it is not a number.
    """
    checked = parse_figure(value)
    return math.inf if checked is None and isinstance(value, int) else float(value)
