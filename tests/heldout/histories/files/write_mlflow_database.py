"""Writes mlflow_database.sql: the runs of mlflow_two_runs.csv in the database that MLflow uses by default."""

import csv
import sqlite3
import tempfile
from itertools import groupby
from pathlib import Path

HERE = Path(__file__).parent
TABLES = ("runs", "metrics")


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


def prefixes() -> tuple[str, ...]:
    """How the lines of a dump begin that are kept: a database has 50 more tables."""
    return tuple(f'{word} "{table}" ' for table in TABLES for word in ("CREATE TABLE", "INSERT INTO"))


if __name__ == "__main__":
    main()
