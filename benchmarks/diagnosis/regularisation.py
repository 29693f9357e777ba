"""Which regularization goes along with better held-out results (`python -m benchmarks.diagnosis.regularisation`).

The remedies of a diagnosis have this order. Conditions were drawn: no training was run both with and without one.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import statsmodels.api as sm

from benchmarks.diagnosis.record import Record, read_all

LEVEL = 3  # epochs whose mean is taken of the referee's figures
KNOWN = 0.97  # accuracy on training images: who does not know them lacks something else than data
ABLE_REGIMES = {"small", "settled", "long", "finished", "sound", "masked"}
SHOWN = ("twice the images", "mild augmentation", "dropout of 0.25", "l2", "label smoothing", "wide network")


def tables(records: Sequence[Record]) -> Iterator[str]:
    """Effects on the referee's accuracy and on the logarithm of its loss, with 95% intervals (HC3)."""
    chosen = [record for record in records if _is_able(record)]
    rows = [_conditions(record) for record in chosen]
    names = [name for name in rows[0] if len({row[name] for row in rows}) > 1]
    given = sm.add_constant(np.array([[row[name] for name in names] for row in rows]))
    yield f"{len(chosen)} trainings that answer {100 * KNOWN:.0f}% of their training images rightly."
    yield ""
    yield "| | trainings | held-out accuracy, points | held-out loss, percent |"
    yield "|---|---|---|---|"
    fits = [
        sm.OLS(np.array(figures), given).fit(cov_type="HC3") for figures in zip(*map(_outcomes, chosen), strict=True)
    ]
    for name in SHOWN:
        place = names.index(name) + 1
        cells = []
        for fit, shown in zip(fits, (lambda effect: 100 * effect, lambda effect: 100 * np.expm1(effect)), strict=True):
            low, high = map(shown, fit.conf_int()[place])
            cells.append(f"{shown(fit.params[place]):+.1f} ({low:+.1f} to {high:+.1f})")
        yield f"| {name} | {sum(row[name] > 0 for row in rows)} | {cells[0]} | {cells[1]} |"


def _is_able(record: Record) -> bool:
    drawn = record.drawn
    is_clean = not (drawn.wrong or drawn.rare or drawn.conflicts) and drawn.regime in ABLE_REGIMES
    return is_clean and record.kept is not None and record.kept["final"]["train"]["accuracy"] > KNOWN


def _outcomes(record: Record) -> tuple[float, float]:
    epochs = len(record.history["train_loss"])
    accuracy, losses = record.referee["accuracy"][:epochs], record.referee["loss"][:epochs]
    return float(np.mean(accuracy[-LEVEL:])), float(np.log(np.mean(losses[-LEVEL:])))


def _conditions(record: Record) -> Mapping[str, float]:
    drawn = record.drawn
    found = {
        "twice the images": np.log2(drawn.images),
        "steps times rate": np.log2(drawn.rate * drawn.epochs / drawn.batch),
    }
    found |= {name: drawn.dataset == name for name in ("mnist5k", "fashion_mnist")}
    found |= {
        f"{name} network": drawn.network == name for name in ("wide", "double", "dense", "norm", "average", "tanh")
    }
    found |= {name: drawn.schedule == name for name in ("cosine", "plateau")}
    found |= {
        "dropout of 0.25": drawn.dropout == 0.25,
        "more dropout": drawn.dropout > 0.25,
        "l2": drawn.l2 > 0,
        "mild augmentation": drawn.augmentation == "mild",
        "strong augmentation": drawn.augmentation == "strong",
        "label smoothing": drawn.smoothing > 0,
    }
    return {name: float(value) for name, value in found.items()}


if __name__ == "__main__":
    print("\n".join(tables(read_all())))
