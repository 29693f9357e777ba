"""Writes the history files in this folder with the libraries themselves; README.md says with which and how.

Each training also records the figures that it computed itself in expected.json, independently of the library's file.
"""

import contextlib
import csv
import io
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HERE = Path(__file__).parent
EPOCHS = 6
TRAIN, VALIDATION = 160, 80


def datasets() -> tuple[TensorDataset, TensorDataset]:
    """Make two classes that a line separates, with some noise."""
    torch.manual_seed(7)
    features = torch.randn(TRAIN + VALIDATION, 8)
    labels = (features[:, 0] + features[:, 1] + 0.5 * torch.randn(len(features)) > 0).long()
    return TensorDataset(features[:TRAIN], labels[:TRAIN]), TensorDataset(features[TRAIN:], labels[TRAIN:])


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))


def figures(model: nn.Module, data: TensorDataset) -> tuple[float, float]:
    """Return the mean cross-entropy and the accuracy."""
    features, labels = data.tensors
    model.eval()
    with torch.no_grad():
        logits = model(features)
    model.train()
    return nn.functional.cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def train(model: nn.Module, after_epoch) -> dict[str, list[float]]:
    """Train with a plain loop, and return what it measured after each epoch."""
    training, validation = datasets()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    measured: dict[str, list[float]] = {"train_loss": [], "train_accuracy": [], "val_loss": [], "val_accuracy": []}
    for epoch in range(EPOCHS):
        for features, labels in DataLoader(training, 32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(features), labels).backward()
            optimizer.step()
        row = dict(zip(measured, (*figures(model, training), *figures(model, validation)), strict=True))
        for name, value in row.items():
            measured[name].append(value)
        after_epoch(epoch, row)
    return measured


def lightning() -> dict:
    import lightning as pl
    from lightning.pytorch.loggers import CSVLogger

    training, validation = datasets()
    seen: dict[str, list[float]] = {"train_loss": [], "val_loss": [], "val_acc": []}

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, _):
            loss = nn.functional.cross_entropy(self.net(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch, _):
            logits = self.net(batch[0])
            self.log("val_loss", nn.functional.cross_entropy(logits, batch[1]))
            self.log("val_acc", (logits.argmax(1) == batch[1]).float().mean())

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.01)

    class Record(pl.Callback):
        def on_train_epoch_end(self, trainer, module):
            seen["train_loss"].append(trainer.callback_metrics["train_loss_epoch"].item())
            seen["val_loss"].append(trainer.callback_metrics["val_loss"].item())
            seen["val_acc"].append(trainer.callback_metrics["val_acc"].item())

    with tempfile.TemporaryDirectory() as folder:
        logger = CSVLogger(folder, name="", version="")
        trainer = pl.Trainer(
            max_epochs=EPOCHS,
            logger=logger,
            callbacks=[Record()],
            log_every_n_steps=2,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="cpu",
        )
        trainer.fit(Model(), DataLoader(training, 32, shuffle=True), DataLoader(validation, 80))
        shutil.copy(Path(logger.log_dir) / "metrics.csv", HERE / "lightning_metrics.csv")
    return seen


def hugging_face() -> dict:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    training, validation = datasets()

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, features, labels):
            logits = self.net(features)
            return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}

    class Rows(torch.utils.data.Dataset):
        def __init__(self, data):
            self.data = data

        def __len__(self):
            return len(self.data)

        def __getitem__(self, at):
            features, label = self.data[at]
            return {"features": features, "labels": label}

    seen: dict[str, list[float]] = {"loss": [], "eval_loss": [], "eval_accuracy": []}

    class Record(TrainerCallback):
        def on_evaluate(self, args, state, control, metrics, model, **_):
            loss, accuracy = figures(model.net, validation)
            seen["eval_loss"].append(loss)
            seen["eval_accuracy"].append(accuracy)

    def run(folder: str, **options) -> str:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=80,
            learning_rate=0.01,
            eval_strategy="epoch",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=1,
            **options,
        )
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            trainer = Trainer(
                Classifier(),
                arguments,
                train_dataset=Rows(training),
                eval_dataset=Rows(validation),
                compute_metrics=lambda found: {
                    "accuracy": float((np.argmax(found.predictions, 1) == found.label_ids).mean())
                },
                callbacks=[Record()],
            )
            trainer.train()
            trainer.save_state()
        return printed.getvalue()

    with tempfile.TemporaryDirectory() as folder:
        printed = run(folder, logging_strategy="epoch")
        shutil.copy(Path(folder) / "trainer_state.json", HERE / "hugging_face_trainer_state.json")
        (HERE / "hugging_face_printed.txt").write_text(printed)
        state = json.loads((Path(folder) / "trainer_state.json").read_text())
        seen["loss"] = [row["loss"] for row in state["log_history"] if "loss" in row]
        by_epoch = {name: list(values) for name, values in seen.items()}
        for values in seen.values():
            values.clear()
        # Logged every 2 steps, where an epoch has 5.
        run(folder, logging_strategy="steps", logging_steps=2)
        shutil.copy(Path(folder) / "trainer_state.json", HERE / "hugging_face_steps.json")
        return by_epoch | {"steps_eval_loss": seen["eval_loss"]}


def fastai() -> dict:
    from fastai.callback.progress import CSVLogger
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.metrics import accuracy, error_rate

    training, validation = datasets()
    seen: dict[str, list[float]] = {}
    for name, metric in (("accuracy", accuracy), ("error_rate", error_rate)):
        with tempfile.TemporaryDirectory() as folder:
            loaders = DataLoaders(DataLoader(training, 32, shuffle=True), DataLoader(validation, 80))
            learner = Learner(
                loaders,
                network(),
                loss_func=nn.CrossEntropyLoss(),
                metrics=metric,
                cbs=[CSVLogger("history.csv")],
                path=folder,
            )
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                learner.fit(EPOCHS, 0.01)
            shutil.copy(Path(folder) / "history.csv", HERE / f"fastai_{name}.csv")
            if name == "accuracy":
                (HERE / "fastai_printed.txt").write_text(printed.getvalue())
        rows = [list(map(float, row)) for row in learner.recorder.values]
        for at, column in enumerate(("train_loss", "valid_loss", name)):
            seen[f"{name}/{column}"] = [row[at] for row in rows]
    return seen


def wandb() -> dict:
    import wandb as library

    rows: list[dict] = []
    # Nothing about the machine goes into the file.
    quiet = {"console": "off", "x_disable_meta": True, "x_disable_stats": True, "disable_git": True, "save_code": False,
             "disable_job_creation": True, "host": "host", "username": "user", "program": "train.py"}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = library.init(project="p", name="r", mode="offline", dir=folder, settings=quiet)

        def log(epoch, row):
            for split in ("train", "val"):
                of_split = {name: value for name, value in row.items() if name.startswith(split)}
                run.log({"epoch": epoch, **of_split})
                rows.append({"_step": len(rows), "epoch": epoch, **of_split})

        measured = train(network(), log)
        run.finish()
        library.teardown()  # until then the file may be in memory
        [file] = (path for path in Path(folder).rglob("*.wandb") if not path.parent.is_symlink())
        shutil.copy(file, HERE / "offline.wandb")
    # Exports of the service in their documented layout: a row per call, with gaps, and the table of a chart.
    names = list(dict.fromkeys(name for row in rows for name in row))
    with (HERE / "wandb_history.csv").open("w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(["", *names])
        writer.writerows([at, *(row.get(name, "NaN") for name in names)] for at, row in enumerate(rows))
    with (HERE / "wandb_chart.csv").open("w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n", quoting=csv.QUOTE_ALL)
        columns = [f"r - {name}{suffix}" for name in ("train_loss", "val_loss") for suffix in ("", "__MIN", "__MAX")]
        writer.writerow(["Step", *columns])
        for epoch, (training, validation) in enumerate(zip(measured["train_loss"], measured["val_loss"], strict=True)):
            writer.writerow([2 * epoch, training, training, training, "", "", ""])
            writer.writerow([2 * epoch + 1, "", "", "", validation, validation, validation])
    return measured


def mlflow() -> dict:
    import mlflow as library

    target = HERE / "mlruns"
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        library.set_tracking_uri(f"file:{folder}/mlruns")
        measured: dict[str, list[float]] = {}
        ids = []
        for _ in range(2):
            with library.start_run() as run:
                of_run = train(network(), lambda epoch, row: library.log_metrics(row, step=epoch))
            ids.append(run.info.run_id)
            measured |= {f"run {len(ids)}/{name}": values for name, values in of_run.items()}
        client = library.MlflowClient()
        rows = []
        for number, run_id in enumerate(ids, 1):
            source = Path(folder) / "mlruns" / "0" / run_id / "metrics"
            shutil.copytree(source, target / "0" / f"{number}{run_id[1:]}" / "metrics")
            for name in of_run:
                rows += [(run_id, m.key, m.value, m.timestamp, m.step) for m in client.get_metric_history(run_id, name)]
        for name, chosen in (("mlflow_long.csv", rows[: len(rows) // 2]), ("mlflow_two_runs.csv", rows)):
            with (HERE / name).open("w", newline="") as opened:
                csv.writer(opened, lineterminator="\n").writerows(
                    [("run_id", "key", "value", "timestamp", "step"), *chosen]
                )
    return measured


def ultralytics() -> dict:
    from PIL import Image
    from ultralytics import YOLO

    seen: dict[str, list[float]] = {}
    random = np.random.default_rng(2)
    options = {
        "epochs": 4, "imgsz": 32, "batch": 8, "device": "cpu", "workers": 0, "amp": False, "plots": False,
        "pretrained": False, "verbose": False,
    }  # fmt: skip

    def record(kind):
        def after_epoch(trainer):
            if len(seen.get(f"{kind}/train", ())) == options["epochs"]:
                return  # the best weights are evaluated once more at the end
            seen.setdefault(f"{kind}/train", []).append(sum(float(value) for value in trainer.tloss.values()))
            seen.setdefault(f"{kind}/val", []).append(
                float(sum(value for name, value in trainer.metrics.items() if name.startswith("val/")))
            )
            if kind == "classify":
                seen.setdefault("classify/top1", []).append(float(trainer.metrics["metrics/accuracy_top1"]))

        return after_epoch

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, count in (("train", 16), ("val", 8)):
            for label, level in (("dark", 60), ("light", 190)):
                (folder / "cls" / split / label).mkdir(parents=True)
                for at in range(count):
                    pixels = np.clip(random.normal(level, 40, (32, 32, 3)), 0, 255).astype(np.uint8)
                    Image.fromarray(pixels).save(folder / "cls" / split / label / f"{at}.png")
            (folder / "det" / "images" / split).mkdir(parents=True)
            (folder / "det" / "labels" / split).mkdir(parents=True)
            for at in range(count):
                pixels = random.integers(0, 90, (32, 32, 3), dtype=np.uint8)
                pixels[8:24, 8:24] = 220
                Image.fromarray(pixels).save(folder / "det" / "images" / split / f"{at}.png")
                (folder / "det" / "labels" / split / f"{at}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        (folder / "det.yaml").write_text(
            f"path: {folder}/det\ntrain: images/train\nval: images/val\nnames:\n  0: square\n"
        )
        for kind, model, data in (
            ("classify", "yolov8n-cls.yaml", str(folder / "cls")),
            ("detect", "yolov8n.yaml", str(folder / "det.yaml")),
        ):
            yolo = YOLO(model)
            yolo.add_callback("on_fit_epoch_end", record(kind))
            yolo.train(data=data, project=name, name=kind, **options)
            shutil.copy(folder / kind / "results.csv", HERE / f"ultralytics_{kind}.csv")
    return seen


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    file = HERE / "expected.json"
    expected = json.loads(file.read_text()) if file.exists() else {}
    writers = (lightning, hugging_face, fastai, wandb, mlflow, ultralytics)
    for writer in writers:
        if writer.__name__ in sys.argv[1:] or len(sys.argv) == 1:
            found = writer()
            expected[writer.__name__] = {
                name: [float(f"{value:.9g}") for value in values] for name, values in found.items()
            }
            file.write_text(json.dumps(expected, indent=1) + "\n")
