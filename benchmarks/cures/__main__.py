"""The recorded trainings of studies: `python -m benchmarks.cures COMMAND`.

record FOLDER    run the trainings that FOLDER lacks: grids, null arms, learning curves, and the rest
progress FOLDER  show how much is recorded
pack FOLDER      keep complete parts: arms with all seeds, in conditions with ten remedies, and complete curves
table            show what is kept
score            show how well studies do on the conditions that are not sealed
score sealed     the same on the sealed ones: once, after the rules are committed
external [WAY]   show how often studies of external trainings name a cure although nothing can help
seeds            show how many seeds recorded runs need, with their answers and with final figures alone
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean

from benchmarks.cures import archive, curves, external, replay, score
from benchmarks.cures.conditions import SEALED, SEEDS, Condition, all_conditions
from benchmarks.cures.record import append_line, read_lines

LAST = {"weight_decay", "erasing", "ema", "zoom"}  # remedies that are recorded after everything else
DEAR = 4_000_000  # cost of a training
CURVES = "curves.jsonl"
MIN_REMEDIES = 10  # with all their seeds, for a condition to be kept


def main(arguments: list[str]) -> None:
    match arguments:
        case ["record", folder]:
            record(Path(folder))
        case ["progress", folder]:
            progress(Path(folder))
        case ["pack", folder]:
            pack(Path(folder))
        case ["table"]:
            print("\n".join(tables()))
        case ["score"]:
            print("\n".join(score.tables(replay.conditions(sealed=False))))
        case ["score", "sealed"]:
            print("\n".join(score.tables(replay.conditions(sealed=True))))
        case ["seeds"]:
            print("\n".join(external.power_tables()))
        case ["external", *ways]:
            for line in external.tables(*ways):
                print(line, flush=True)
        case _:
            raise SystemExit(__doc__)


def record(folder: Path) -> None:
    """Run all missing trainings. The ones that take longest come after the learning curves."""
    # Here, since nothing else of this program needs TensorFlow.
    from benchmarks.cures.trained import one_thread

    one_thread()
    conditions = all_conditions()
    dear = [condition for condition in conditions if condition.cost > DEAR]
    cheap = [condition for condition in conditions if condition.cost <= DEAR]
    record_arms(folder, cheap, is_first)
    record_arms(folder, cheap, is_null)
    record_curves(folder / CURVES)
    record_arms(folder, dear, is_first)
    record_arms(folder, conditions, lambda arm: True)


def is_null(arm: str) -> bool:
    return arm.startswith("null_")


def is_first(arm: str) -> bool:
    return not is_null(arm) and arm not in LAST


def record_arms(folder: Path, conditions: Iterable[Condition], is_wanted: Callable[[str], bool]) -> None:
    """Train all seeds of the requested arms."""
    for condition in conditions:
        began = time.monotonic()
        count = record_condition(_file(folder, condition), condition, filter(is_wanted, condition.arms))
        print(f"{condition.key}: {count} trainings in {time.monotonic() - began:.0f} s", flush=True)


def record_condition(file: Path, condition: Condition, arms: Iterable[str]) -> int:
    """Run the trainings that `file` lacks. Returns their number."""
    from benchmarks.cures.sets import study_set
    from benchmarks.cures.trained import Arm
    from worker.training.engine.training_policy import Diverged

    done = {training.key for training in read_lines(file)}
    studied = study_set(condition.dataset, condition.side, condition.train, condition.validation, condition.draw)
    count = 0
    for name in arms:
        arm: Arm | None = None
        for seed in SEEDS:
            if (name, seed) in done:
                continue
            spec = condition.spec(name, seed)
            if arm is None or not arm.can_train(spec):
                arm = Arm(spec, studied)
            try:
                append_line(arm.train(name, seed, spec), file)
            except Diverged as diverged:
                print(f"{condition.key} {name} {seed}: {diverged}", flush=True)
            count += 1
    return count


def record_curves(file: Path) -> None:
    from benchmarks.cures.sets import study_set
    from benchmarks.cures.trained import Arm

    file.parent.mkdir(parents=True, exist_ok=True)
    done = {point.key for point in curves.read_points(file)}
    for curve in curves.all_curves():
        condition = curve.condition
        wanted = [(images, seed) for images in curve.sizes for seed in curves.SEEDS]
        missing = [(images, seed) for images, seed in wanted if (curve.key, images, seed) not in done]
        if not missing:
            continue
        began = time.monotonic()
        studied = study_set(condition.dataset, condition.side, condition.train, condition.validation, condition.draw)
        arm = Arm(curve.spec(*missing[0]), studied)
        for images, seed in missing:
            point = curves.point_of(curve, images, arm.train("base", seed, curve.spec(images, seed)))
            with file.open("ab", buffering=0) as opened:
                opened.write(curves.line_of(point).encode())
        print(f"curve {curve.key}: {len(missing)} trainings in {time.monotonic() - began:.0f} s", flush=True)


def progress(folder: Path) -> None:
    """Print what is recorded, the grids first."""
    for condition in all_conditions():
        done = [*read_lines(_file(folder, condition))]
        wanted = len(condition.arms) * len(SEEDS)
        seconds = sum(training.seconds for training in done)
        print(f"{condition.key}: {len(done)} of {wanted}, {seconds:.0f} s of a processor in training")
    wanted = sum(len(curve.sizes) * len(curves.SEEDS) for curve in curves.all_curves())
    print(f"curves: {len([*curves.read_points(folder / CURVES)])} of {wanted}")


def pack(folder: Path) -> None:
    """Write the archives of conditions and the file of curves, and read them again.

    Raises:
        SystemExit: an archive differs from what was recorded.
    """
    for condition in all_conditions():
        lines = {training.key: training for training in read_lines(_file(folder, condition))}
        whole = [arm for arm in condition.arms if all((arm, seed) in lines for seed in SEEDS)]
        found = sum(not is_null(arm) for arm in whole) - ("base" in whole)
        if "base" not in whole or found < MIN_REMEDIES:
            print(f"{condition.key}: left out, {found} remedies are whole")
            continue
        file = archive.FOLDER / f"{condition.key}.npz"
        archive.write(archive.Recorded.of(condition, [*lines.values()], whole), file)
        kept = archive.read(file).trainings
        if len(kept) != len(whole) * len(SEEDS) or not all(one.is_like(lines[one.key]) for one in kept):
            raise SystemExit(f"{file} is not what was recorded")
        missing = f", {len(condition.arms) - len(whole)} arms are not whole" * (len(whole) < len(condition.arms))
        print(f"{condition.key}: {len(kept)} trainings, {file.stat().st_size / 1000:.0f} kB{missing}")
    points = {point.key: point for point in curves.read_points(folder / CURVES)}
    lines_of_curves = []
    for curve in curves.all_curves():
        keys = [(curve.key, images, seed) for images in curve.sizes for seed in curves.SEEDS]
        if all(key in points for key in keys):
            lines_of_curves += [curves.line_of(points[key]) for key in keys]
    curves.FILE.write_text("".join(lines_of_curves), encoding="utf-8")
    print(f"{len({point.curve for point in curves.read_points()})} of {len(curves.all_curves())} curves")


def tables() -> Iterator[str]:
    """Describe each kept condition: its images, its trainings, and how often its base was right, unless it is
    sealed.
    """
    yield "| condition | train · validation · referee | folds | epochs | trainings | accuracy of the base on each |"
    yield "|---|---|---|---|---|---|"
    for condition in replay.conditions():
        trainings = replay.trainings(condition)
        counts = f"{condition.train} · {condition.validation} · {len(trainings[0].referee_correct)}"
        base = [training for training in trainings if training.arm == "base"]
        figures = (
            mean(one.train_accuracy for one in base),
            mean(float(one.correct.mean()) for one in base),
            mean(one.referee_accuracy for one in base),
        )
        shares = "sealed" if condition.key in SEALED else " · ".join(f"{100 * share:.1f}%" for share in figures)
        folds = condition.folds or "–"
        yield f"| {condition.key} | {counts} | {folds} | {condition.epochs} | {len(trainings)} | {shares} |"


def _file(folder: Path, condition: Condition) -> Path:
    return folder / f"{condition.key}.jsonl"


if __name__ == "__main__":
    main(sys.argv[1:])
