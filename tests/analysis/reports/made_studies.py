"""Studies as the service returns them, with invented figures: one for each kind of conclusion."""

from math import exp

from analysis.reports.courses import EpochFigures
from heldout.remedies import resolve
from heldout.spec.job import JobSpec
from heldout.views.base import ErrorView
from heldout.views.diagnosis import GapBudgetView
from heldout.views.study import StudyView
from heldout.views.study_report import ReportBudgetView

CREATED, FINISHED = "2026-11-24T09:12:00.000Z", "2026-11-24T09:26:40.000Z"
BASE_SPEC = {
    "name": "overfit",
    "dataset": "mnist5k@1",
    "network": {"blocks": [{"filters": 32}, {"filters": 64}, {"filters": 128}]},
    "training": {"epochs": 20, "batch_size": 32, "optimizer": {"name": "adam", "learning_rate": 0.001}, "seed": 7},
    "evaluation": {"test": "never"},
}
REMEDIES = ("dropout", "label_smoothing", "horizontal_flip", "shift")
PATCHES = {remedy.name: remedy.patch for remedy in resolve(REMEDIES, JobSpec.model_validate(BASE_SPEC))}


def arm(name, accuracy, loss, *, train=(0.9994, 0.0021), seeds=5, status="finished", why=None, difference=None):
    """Make an arm. difference: (accuracy, half its adjusted interval, loss, half its adjusted interval)."""
    return {
        "name": name,
        "patch": PATCHES.get(name, {}),
        "status": status,
        "jobs": [f"job_{name}{seed}" for seed in range(seeds)],
        "seeds": seeds,
        "train": {"accuracy": train[0], "loss": train[1], "intervals": {}},
        "validation": {
            "accuracy": accuracy,
            "loss": loss,
            "intervals": {"accuracy": (accuracy - 0.02, accuracy + 0.02), "loss": (loss - 0.05, loss + 0.05)},
        },
        "difference": difference and difference_of(*difference),
        "why": why,
    }


def difference_of(accuracy, half, loss, loss_half, narrower=0.7):
    return {
        "accuracy": accuracy,
        "loss": loss,
        "intervals": {
            "accuracy": (accuracy - narrower * half, accuracy + narrower * half),
            "loss": (loss - narrower * loss_half, loss + narrower * loss_half),
        },
        "adjusted_intervals": {
            "accuracy": (accuracy - half, accuracy + half),
            "loss": (loss - loss_half, loss + loss_half),
        },
    }


def study(arms, conclusion, **changes):
    """Make a study that succeeded; `changes` replace fields of its JSON."""
    jobs = sum(made["seeds"] for made in arms)
    return StudyView.model_validate(
        {
            "id": "std_01k9",
            "object": "study",
            "name": "cure of overfit",
            "kind": "remedies",
            "status": "succeeded",
            "spec": JobSpec.model_validate(BASE_SPEC),
            "dataset": {"id": "ds_1", "name": "mnist5k", "version": 1},
            "job": "job_01k8",
            "remedies": [made["name"] for made in arms[1:]],
            "seeds": 3,
            "splits": "resampled",
            "budget": {"jobs": 60, "seconds": None},
            "progress": {"jobs": jobs, "done": jobs, "eta_s": None},
            "arms": arms,
            "conclusion": conclusion,
            "ledger": {"validation_reads": 20 * jobs, "test_reads": 0, "jobs": jobs, "seconds": 41.5 * jobs},
            "error": None,
            "version": 40,
            "created_at": CREATED,
            "started_at": CREATED,
            "finished_at": FINISHED,
            **changes,
        }
    )


def cure():
    """Dropout helps, and test confirms it; shifting images helps as well, and flipping them harms."""
    arms = [
        arm("base", 0.9705, 0.1432),
        arm("dropout", 0.9815, 0.0701, train=(0.9968, 0.0120), difference=(0.0110, 0.0062, -0.0731, 0.0312)),
        arm("label_smoothing", 0.9712, 0.1310, difference=(0.0007, 0.0080, -0.0122, 0.0270)),
        arm("shift", 0.9795, 0.0786, train=(0.9907, 0.0301), difference=(0.0090, 0.0068, -0.0646, 0.0350)),
        arm(
            "horizontal_flip",
            0.9510,
            0.1922,
            seeds=3,
            status="dropped",
            why="After 3 trainings it was clearly worse than the base.",
            difference=(-0.0195, 0.0110, 0.0490, 0.0440),
        ),
    ]
    test = {
        "base": _test(0.9672, 0.1530),
        "winner": _test(0.9784, 0.0780),
        "difference": difference_of(0.0112, 0.0088, -0.0750, 0.0400),
    }
    conclusion = {
        "kind": "cure",
        "remedy": "dropout",
        "explanation": "On validation images dropout is clearly better than the base.",
        "test": test,
        "refit": "job_01k9refit",
    }
    ensemble = {
        "base": {"members": 5, "validation": None, "test": _test(0.9741, 0.0990)},
        "winner": {"members": 5, "validation": None, "test": _test(0.9812, 0.0625)},
    }
    ledger = {"validation_reads": 460, "test_reads": 12, "jobs": 24, "seconds": 996.0}
    return study(arms, conclusion, ensemble=ensemble, ledger=ledger)


def nothing_helped():
    """Four changes on many images, with narrow intervals around 0."""
    arms = [
        arm("base", 0.9120, 0.2510, train=(0.9210, 0.2210)),
        arm("dropout", 0.9098, 0.2561, train=(0.9102, 0.2510), difference=(-0.0022, 0.0040, 0.0051, 0.0090)),
        arm("label_smoothing", 0.9125, 0.2490, train=(0.9208, 0.2230), difference=(0.0005, 0.0041, -0.0020, 0.0080)),
        arm("shift", 0.9004, 0.2790, train=(0.8990, 0.2802), difference=(-0.0116, 0.0060, 0.0280, 0.0110)),
    ]
    conclusion = {
        "kind": "nothing_helped",
        "remedy": None,
        "explanation": "No change was clearly better than the base in right answers or in loss.",
    }
    return study(arms, conclusion, splits="fixed")


def cannot_tell(needs=None):
    """Two changes on few images, with wide intervals."""
    arms = [
        arm("base", 0.8310, 0.6120, train=(0.9980, 0.0101), seeds=3),
        arm("dropout", 0.8540, 0.5410, train=(0.9612, 0.1100), seeds=3, difference=(0.0230, 0.0390, -0.0710, 0.0980)),
        arm("shift", 0.8410, 0.5800, train=(0.9401, 0.1700), seeds=3, difference=(0.0100, 0.0410, -0.0320, 0.1000)),
    ]
    conclusion = {
        "kind": "cannot_tell",
        "remedy": None,
        "explanation": "The ranges of all changes hold 0, and are too wide to rule out an improvement that matters.",
        "needs": needs or {"seeds": 4, "images": None},
    }
    return study(arms, conclusion)


def running():
    """The first trainings have ended, and nothing has been compared."""
    arms = [
        {"name": name, "patch": PATCHES.get(name, {}), "status": "racing", "jobs": [f"job_{name}0"], "seeds": 0}
        | {"train": None, "validation": None, "difference": None}
        for name in ("base", "dropout")
    ]
    progress = {"jobs": 6, "done": 2, "eta_s": 120.0}
    return study(arms, None, status="running", progress=progress, finished_at=None)


def learning_curve():
    """The error falls with the number of images, and should continue to fall."""
    errors = ((450, 0.142), (900, 0.096), (1800, 0.063), (2700, 0.049), (3600, 0.042))
    sizes = [{"images": images, "error": e, "interval": (0.88 * e, 1.12 * e)} for images, e in errors]
    forecast = {"images": 7200, "error": 0.029, "interval": (0.024, 0.035)}
    return study(
        [arm("base", 0.958, 0.14, seeds=3)], None, kind="learning_curve", remedies=[], sizes=sizes, forecast=forecast
    )


def _test(accuracy, loss):
    return {
        "accuracy": accuracy,
        "loss": loss,
        "count": 1000,
        "intervals": {"accuracy": (accuracy - 0.011, accuracy + 0.011), "loss": (loss - 0.03, loss + 0.03)},
    }


def epochs_of(shown, epochs=20):
    """Make curves for each job of a study that end near the means of its arms."""
    found = {}
    for shown_arm in shown.arms:
        for seed, job in enumerate(shown_arm.jobs):
            end = 0.9 if shown_arm.validation is None else shown_arm.validation.accuracy
            trained = 0.95 if shown_arm.train is None else shown_arm.train.accuracy
            loss = 0.3 if shown_arm.validation is None else shown_arm.validation.loss
            wobble = 0.002 * (seed - 2)
            found[job] = [
                EpochFigures(
                    epoch,
                    trained - (trained - 0.3) * exp(-epoch / 2.5) - wobble / 4,
                    end - (end - 0.3) * exp(-epoch / 2) + wobble,
                    0.01 + 2 * exp(-epoch / 2.5) - wobble / 4,
                    loss * (0.75 + 0.0125 * epoch) + 2 * exp(-epoch / 1.5) + 3 * wobble,
                )
                for epoch in range(1, epochs + 1)
            ]
    return found


def error(detail):
    return ErrorView(code="base_failed", detail=detail)


def gaps():
    """The terms of the gap of the base's own job."""
    split = {"loss": 0.01, "accuracy": 0.999, "count": 3600, "interval": (0.997, 1.0)}
    term = {
        "code": "generalisation",
        "accuracy": 0.0295,
        "accuracy_interval": (0.0142, 0.0501),
        "loss": 0.1331,
        "loss_interval": (0.0871, 0.1790),
        "how": "measured",
        "finding": "overfitting",
        "explanation": "The network answers 99.9% of the training images correctly, and 97.0% of the others.",
    }
    rest = {**term, "code": "split_difference", "accuracy": 0.0033, "loss": 0.0101, "explanation": "Test is like it."}
    rest |= {"accuracy_interval": (-0.02, 0.0266), "loss_interval": (-0.04, 0.0602)}
    test = split | {"accuracy": 0.9662, "count": 1000, "loss": 0.1532}
    gap = GapBudgetView.model_validate({"train": split, "validation": split, "test": test, "terms": [term, rest]})
    return [ReportBudgetView.of("base", "job_01k8", gap)]
