"""Writes databases as MLflow makes them by default, without the tables that Heldout does not read.

mlflow_database.sql: the runs of mlflow_two_runs.csv. mlflow_experiment.sql: trainings with a parameter and a seed.
"""

import csv
import sqlite3
import tempfile
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
TABLES = ("runs", "metrics")
TABLES_OF_EXPERIMENTS = ("experiments", "runs", "params", "tags", "latest_metrics")


def main() -> None:
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        mlflow.set_tracking_uri(f"sqlite:///{database}")
        mlflow.set_experiment("two")
        with (HERE / "mlflow_two_runs.csv").open() as opened:
            rows = list(csv.DictReader(opened))
        for number, (_, of_run) in enumerate(groupby(rows, lambda row: row["run_id"]), 1):
            with mlflow.start_run(run_name=f"run {number}"):
                for row in of_run:
                    mlflow.log_metric(row["key"], float(row["value"]), step=int(row["step"]))
        with mlflow.start_run(run_name="deleted") as deleted:
            mlflow.log_metric("val_loss", float("nan"))
        mlflow.delete_run(deleted.info.run_id)
        with sqlite3.connect(database) as connection:
            lines = [line for line in connection.iterdump() if line.startswith(prefixes())]
        connection.close()
    (HERE / "mlflow_database.sql").write_text("\n".join(lines).replace(folder, "/home/me") + "\n")


def write_experiment() -> None:
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        mlflow.set_tracking_uri(f"sqlite:///{database}")
        for experiment, gain in (("dropout", 0.05), ("nothing", 0.0)):
            mlflow.set_experiment(experiment)
            for seed in range(5):
                for dropout in (0.0, 0.3):
                    with mlflow.start_run(run_name=f"{dropout}-{seed}", tags={"team": f"t{seed % 2}"}):
                        mlflow.log_params({"dropout": dropout, "seed": seed})
                        mlflow.log_metric("val_acc", 0.5, step=1)
                        mlflow.log_metric("val_acc", 0.8 + seed / 500 + gain * (dropout > 0), step=2)
        mlflow.set_experiment("dropout")
        with mlflow.start_run(run_name="deleted") as deleted:
            mlflow.log_params({"dropout": 0.3, "seed": 9})
        mlflow.delete_run(deleted.info.run_id)
        with sqlite3.connect(database) as connection:
            lines = [line for line in connection.iterdump() if line.startswith(prefixes(TABLES_OF_EXPERIMENTS))]
        connection.close()
    lines = [line for line in lines if "VALUES('mlflow." not in line]
    (HERE / "mlflow_experiment.sql").write_text("\n".join(lines).replace(str(Path.cwd()), "/home/me") + "\n")


def prefixes(tables: tuple[str, ...] = TABLES) -> tuple[str, ...]:
    """Return how the kept lines of a dump begin. A database has 50 more tables."""
    return tuple(f'{word} "{table}" ' for table in tables for word in ("CREATE TABLE", "INSERT INTO"))


if __name__ == "__main__":
    main()
    write_experiment()
