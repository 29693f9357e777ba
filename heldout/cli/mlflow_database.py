"""MLflow's database: the metrics of its runs, in the SQLite file that it writes where nothing else is set."""

import sqlite3
from pathlib import Path

from heldout.histories.mlflow import Metric

FILE_HEAD = b"SQLite format 3\0"
FILE_NAME = "mlflow.db"
_MAX_ROWS = 10_000_000
# In the order in which a run was started and its values were written; deleted runs lie there until they are purged.
_METRICS = """
SELECT runs.run_uuid, runs.name, metrics.key, CASE WHEN metrics.is_nan THEN NULL ELSE metrics.value END, metrics.step
FROM metrics JOIN runs ON runs.run_uuid = metrics.run_uuid
WHERE runs.lifecycle_stage = 'active'
ORDER BY runs.start_time, runs.run_uuid, metrics.key, metrics.timestamp, metrics.step
LIMIT ?
"""


def is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(FILE_HEAD)) == FILE_HEAD


def metrics_in(path: Path) -> list[Metric]:
    """All metrics of runs that are not deleted. The file is only read.

    Raises:
        ValueError: if it is no database of MLflow, is damaged, or has too many values.
    """
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            rows = connection.execute(_METRICS, (_MAX_ROWS + 1,)).fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise ValueError(f"this SQLite file cannot be read as a database of MLflow ({error})") from None
    if len(rows) > _MAX_ROWS:
        raise ValueError(f"the database has more than {_MAX_ROWS:,} values")
    return [Metric(*row) for row in rows]
